package tags

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// Answer is of one file of a form with several: what it became, or why it did not.
type Answer struct {
	*Record
	Name    string       `json:"name"`
	Problem *api.Problem `json:"problem,omitempty"`
}

const (
	formType         = "multipart/form-data"
	defaultFormFiles = 1000
)

// part is what became of a file of a form.
type part struct {
	name   string // as it was sent, made safe; "" where that is not known
	record *Record
	kept   bool
	err    error
}

// uploadForm takes the files of a form. One is answered as if it had come alone, several
// each in a list. name is the first one's, "" for its own.
func (f *face) uploadForm(c echo.Context, in *broker.TagIntake, form *multipart.Reader, name string) error {
	all, err := f.takeForm(c.Request(), in, form, name)
	switch {
	case err != nil:
		return err
	case len(all) == 0:
		return broker.Errorf(broker.CodeInvalid, "the form has no file; curl sends one by -F file=@photo.jpg")
	case len(all) == 1 && all[0].err != nil:
		return all[0].err
	case len(all) == 1:
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
			api.LogProblem(c.Request().Context(), f.Log, a.Problem)
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

// takeForm takes one file of a form after the other. What befalls one is its own; an
// error of takeForm says that none was kept, and that no more are read.
func (f *face) takeForm(r *http.Request, in *broker.TagIntake, form *multipart.Reader, name string) (all []part, err error) {
	over := part{} // stands for the files above what a form may have
	n := 0
	parts := &formParts{form: form, named: name != ""}
	for {
		p, err := parts.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			if len(all) == 0 {
				return nil, brokenForm(err)
			}
			return append(all, part{err: brokenForm(err)}), nil
		}
		if name == "" {
			name = p.name
		}
		one := part{name: broker.SafeName(name)}
		if n++; n > f.FormFiles { // it is read to its end, or the client would never hear what was kept
			if n == f.FormFiles+1 {
				over = one
			}
			name = ""
			continue
		}
		one.record, one.kept, one.err = f.takePart(r, in, p, name)
		if len(all) == 0 && broker.CodeOf(one.err) == broker.CodeTooManyRequests {
			return nil, one.err
		}
		all, name = append(all, one), ""
	}
	if n > f.FormFiles {
		over.err = broker.Errorf(broker.CodeBatchTooLarge, "a form may have %d files, and this one has %d: this file and those behind it were not taken; send them in another form",
			f.FormFiles, n)
		all = append(all, over)
	}
	return all, nil
}

func (f *face) takePart(r *http.Request, in *broker.TagIntake, p formFile, name string) (*Record, bool, error) {
	if err := f.count(r.Context(), in); err != nil {
		return nil, false, err
	}
	return f.take(r, in, broker.NewTagFile{Name: name, Type: p.contentType, SizeBytes: -1, Body: p.body})
}

// formOf reads the head of a form; nil for any other body.
func formOf(r *http.Request) (*multipart.Reader, error) {
	t, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if t != formType {
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
