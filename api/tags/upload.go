package tags

import (
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
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

// Answer is of one file of a form with several: what it became, or why it did not.
type Answer struct {
	*Record
	Name    string       `json:"name"`
	Problem *api.Problem `json:"problem,omitempty"`
}

// Bounds of an upload.
const (
	stall         = time.Minute // how long a client may send nothing
	waitForPlace  = time.Minute // when very many upload at once
	maxDrainBytes = 32 << 20    // of a refused file
	drainTime     = 10 * time.Second
	maxFormFiles  = 1000
	formBoundary  = "multipart/form-data"
)

// upload takes a file as the body, or files as a form.
func (f *face) upload(c echo.Context) (err error) {
	r := c.Request()
	body := &pacedBody{ReadCloser: r.Body, left: r.ContentLength, control: http.NewResponseController(c.Response())}
	r.Body = body
	defer func() {
		// Who waits to be told to go on is not told so when he is refused.
		waits := r.Header.Get("Expect") != "" && body.set.IsZero()
		body.end(err != nil && !waits)
	}()
	tag, path, err := pathAfter(r, "/upload/")
	if err != nil {
		return err
	}
	form, err := formOf(r)
	if err != nil {
		return err
	}
	name := path
	if name == "" {
		name = r.URL.Query().Get("filename")
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
	release, err := f.place(r.Context(), in)
	if err != nil {
		return err
	}
	defer release()
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

// place waits for one of the places for uploads under way.
func (f *face) place(ctx context.Context, in *broker.TagIntake) (release func(), err error) {
	places := f.keyed
	if in.Anonymous() {
		places = f.keyless
	}
	ctx, cancel := context.WithTimeout(ctx, waitForPlace)
	defer cancel()
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-ctx.Done():
		e := broker.Errorf(broker.CodeTooManyRequests, "very many files are being sent at this moment; try again soon")
		e.RetryAfter = 10 * time.Second
		return nil, e
	}
}

// take passes one file on.
func (f *face) take(r *http.Request, in *broker.TagIntake, file broker.NewTagFile) (*Record, bool, error) {
	ctx := r.Context()
	if in.Anonymous() {
		if err := f.Tries.Allow(api.Client(ctx)); err != nil {
			return nil, false, err
		}
	}
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

// uploadForm takes the files of a form. One is answered as if it had come alone, several
// each in a list. name is the first one's, "" for its own.
func (f *face) uploadForm(c echo.Context, in *broker.TagIntake, form *multipart.Reader, name string) error {
	r := c.Request()
	type result struct {
		record *Record
		kept   bool
		name   string
		err    error
	}
	var all []result
	for {
		part, err := form.NextRawPart() // as it is: other encodings are not for files
		if err == io.EOF {
			break
		}
		if err != nil {
			return brokenForm(err)
		}
		own := dispositionName(part.Header.Get("Content-Disposition"))
		if own == "" { // a field, or a file that was not chosen
			continue
		}
		if len(all) == maxFormFiles {
			return broker.Errorf(broker.CodeBatchTooLarge, "the form has more than %d files; send several forms", maxFormFiles)
		}
		if name == "" {
			name = own
		}
		one := result{name: broker.SafeName(name)}
		one.record, one.kept, one.err = f.take(r, in, broker.NewTagFile{
			Name: name, Type: part.Header.Get("Content-Type"), SizeBytes: -1, Body: part,
		})
		all, name = append(all, one), ""
		if r.Context().Err() != nil {
			return r.Context().Err()
		}
	}
	switch len(all) {
	case 0:
		return broker.Errorf(broker.CodeInvalid, "the form has no file; curl sends one by -F file=@photo.jpg")
	case 1:
		if all[0].err != nil {
			return all[0].err
		}
		return answer(c, all[0].record, all[0].kept)
	}
	status, failed := http.StatusOK, 0
	out := struct {
		Files []Answer `json:"files"`
	}{}
	for _, one := range all {
		a := Answer{Record: one.record, Name: one.name}
		switch {
		case one.err != nil:
			failed++
			a.Problem = api.NewProblem(one.err)
			api.LogProblem(r.Context(), f.Log, a.Problem)
		default:
			a.Name = one.record.Name
			if one.kept {
				status = http.StatusCreated
			}
		}
		out.Files = append(out.Files, a)
	}
	if failed == len(all) {
		return all[0].err
	}
	if failed > 0 {
		status = http.StatusMultiStatus
	}
	return c.JSON(status, out)
}

// formOf reads the head of a form; nil for any other body.
func formOf(r *http.Request) (*multipart.Reader, error) {
	t, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if t != formBoundary {
		return nil, nil
	}
	if err != nil || params["boundary"] == "" {
		return nil, broker.Errorf(broker.CodeInvalid, "the form does not name its boundary in Content-Type")
	}
	return multipart.NewReader(r.Body, params["boundary"]), nil
}

func brokenForm(err error) error {
	var known *broker.Error
	if errors.As(err, &known) {
		return err
	}
	return &broker.Error{Code: broker.CodeInvalid, Msg: "the form broke off or is malformed; files before that place were kept, send the others again", Err: err}
}

// dispositionName is the file's name of a Content-Disposition (RFC 6266, RFC 7578),
// with its folders.
func dispositionName(header string) string {
	_, params, err := mime.ParseMediaType(header)
	if err != nil {
		return ""
	}
	return params["filename"]
}

func lastSegment(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// pacedBody ends an upload whose client sends nothing for long: it holds a connection
// to a bucket, and one of the places.
type pacedBody struct {
	io.ReadCloser
	control *http.ResponseController
	set     time.Time // when the deadline was set, zero: there is none
	left    int64     // bytes still to come; below zero: not known
	ended   bool
}

func (b *pacedBody) Read(p []byte) (int, error) {
	if now := time.Now(); now.Sub(b.set) > stall/10 {
		b.set = now
		_ = b.control.SetReadDeadline(now.Add(stall)) // a connection without deadlines waits
	}
	n, err := b.ReadCloser.Read(p)
	if b.left > 0 {
		b.left -= int64(n)
	}
	if err != nil || b.left == 0 {
		// What follows may take its time: a deadline that passed would end the request.
		b.ended = true
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// end takes the deadline away. With drain it first reads on: many clients see an answer
// only when their body is sent.
func (b *pacedBody) end(drain bool) {
	if drain && !b.ended {
		_ = b.control.SetReadDeadline(time.Now().Add(drainTime))
		_, _ = io.CopyN(io.Discard, b.ReadCloser, maxDrainBytes)
	}
	_ = b.control.SetReadDeadline(time.Time{})
}
