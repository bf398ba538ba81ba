package tags

import (
	"context"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// Record answers an upload.
type Record struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Size int64  `json:"size"`
	SHA1 string `json:"sha1"`
	URL  string `json:"url"`
}

// upload takes a file as the body, or files as a form.
func (f *face) upload(c echo.Context) (err error) {
	r := c.Request()
	body := newPacedBody(r, c.Response(), f.Stall)
	r.Body = body
	defer func() {
		// Who waits to be told to go on is not told so when he is refused.
		waits := r.Header.Get("Expect") != "" && body.set.IsZero()
		body.end(err != nil && !waits)
	}()
	// Who has sent all may close his side of the connection, and net/http takes him for
	// gone. One who is gone is known by his body, which breaks off.
	lasting, cancel := outlive(r.Context())
	defer cancel()
	gone := r.Context()
	r = r.WithContext(lasting)
	tag, path, err := pathAfter(r, "/upload/")
	if err != nil {
		return err
	}
	if err := checkHead(c, r); err != nil {
		return err
	}
	form, err := formOf(r)
	if err != nil {
		return err
	}
	name := inUTF8(path)
	if name == "" {
		name = queryName(r.URL.RawQuery)
	}
	if name == "" && form == nil {
		if name = dispositionName(r.Header.Get("Content-Disposition")); name == "" {
			return broker.Errorf(broker.CodeInvalidName, "name the file: /upload/%s/FILENAME, or ?filename=FILENAME", tag)
		}
	}
	in, err := f.intake(r, tag)
	if err != nil {
		return err
	}
	if form == nil {
		if err := f.count(r.Context(), in); err != nil {
			return err
		}
	}
	places := f.keyed
	if in.Anonymous() {
		places = f.keyless
	}
	place, err := places.enter(gone, api.Client(gone))
	if err != nil {
		return err
	}
	defer place.leave()
	if in.Anonymous() {
		body.together = &place.brought
	}
	if form != nil {
		return f.uploadForm(c, in, form, name)
	}
	record, kept, err := f.take(r, in, broker.NewTagFile{
		Name: name, Type: r.Header.Get("Content-Type"), SizeBytes: r.ContentLength, Body: body,
	})
	if err != nil {
		return err
	}
	return answer(c, record, kept)
}

// outlive gives what was begun a little time after its client has gone.
func outlive(ctx context.Context) (context.Context, context.CancelFunc) {
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(outliveTime, cancel) })
	return lasting, func() {
		stop()
		cancel()
	}
}

const outliveTime = 30 * time.Second

// checkHead refuses bodies that would be kept as something else than the client thinks.
func checkHead(c echo.Context, r *http.Request) error {
	coding := strings.TrimSpace(r.Header.Get("Content-Encoding"))
	switch {
	case r.Header.Get("Content-Range") != "": // RFC 9110, section 14.5
		return api.StatusProblem(http.StatusBadRequest, "a part of a file is not taken: send the whole file, without Content-Range", nil)
	case coding != "" && !strings.EqualFold(coding, "identity"): // section 15.5.16
		c.Response().Header().Set("Accept-Encoding", "identity")
		return api.StatusProblem(http.StatusUnsupportedMediaType, "the file is kept as it comes: send it without Content-Encoding", nil)
	case r.ProtoMajor == 1 && r.ContentLength == 0 && r.Header.Get("Content-Length") == "":
		// There is no body by HTTP's rules; old programs send one and close.
		return api.StatusProblem(http.StatusLengthRequired, "say how long the file is by Content-Length (0 for an empty one), or send it in chunks", nil)
	}
	return nil
}

// intake decides who sends. Where anybody may, a bad key is as good as none.
func (f *face) intake(r *http.Request, tag string) (*broker.TagIntake, error) {
	ctx := r.Context()
	by, err := api.Caller(ctx)
	in, refused := f.Tags.Intake(ctx, by, api.Client(ctx), tag)
	if err != nil && (refused != nil || broker.CodeOf(err) != broker.CodeUnauthenticated) {
		return nil, err
	}
	return in, refused
}

// count refuses a file without a key when its address has sent very many.
func (f *face) count(ctx context.Context, in *broker.TagIntake) error {
	if !in.Anonymous() {
		return nil
	}
	return f.Files.Allow(api.Client(ctx))
}

// take passes one file on.
func (f *face) take(r *http.Request, in *broker.TagIntake, file broker.NewTagFile) (*Record, bool, error) {
	ctx := r.Context()
	file.Type, _, _ = mime.ParseMediaType(file.Type)
	img, kept, err := in.Take(ctx, file)
	if err != nil {
		return nil, false, err
	}
	return &Record{
		ID: img.ID, Name: img.Name, Size: img.ObjectBytes, SHA1: img.SHA1.String(), URL: fileURL(ctx, in.Tag(), img.ID),
	}, kept, nil
}

func answer(c echo.Context, record *Record, kept bool) error {
	status := http.StatusOK
	if kept {
		status = http.StatusCreated
		c.Response().Header().Set("Location", record.URL)
	}
	return c.JSON(status, record)
}
