package tags

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"strings"
)

// formParts finds the files of a form among its parts. A part with a file name is one.
// Where the address names the file, the first part without may be it, too: one of a type
// that fields don't have, one that is longer than fields are, or the only one.
type formParts struct {
	form  *multipart.Reader
	named bool // the address names a file that has not come yet
	files int
	ended bool
	few   []formFile // parts that may be fields, or the file
}

// formFile is a part of a form that is a file.
type formFile struct {
	name        string // its own; "" where it has none
	contentType string
	body        io.Reader
}

// fieldBytes is the most of a field that is kept until the form's end.
const fieldBytes = 64 << 10

// next is the next file; io.EOF when the form has no more.
func (f *formParts) next() (formFile, error) {
	for {
		if f.ended {
			return formFile{}, io.EOF
		}
		p, err := f.form.NextRawPart() // as it is: other encodings are not for files
		if err == io.EOF {
			if f.ended = true; f.files == 0 && len(f.few) == 1 {
				return f.few[0], nil
			}
		}
		if err != nil {
			return formFile{}, err
		}
		file := formFile{name: dispositionName(p.Header.Get("Content-Disposition")), contentType: p.Header.Get("Content-Type"), body: p}
		if file.name == "" {
			if !f.named || f.files > 0 { // a field, or a file that was not chosen
				continue
			}
			if none, err := file.notChosen(p.Header.Get("Content-Disposition")); err != nil {
				return formFile{}, err
			} else if none {
				continue
			}
			if maybe, err := file.maybeField(); err != nil {
				return formFile{}, err
			} else if maybe {
				f.few = append(f.few[:min(len(f.few), 1)], file) // two are not the only one
				continue
			}
		}
		f.files++
		return file, nil
	}
}

// notChosen reports whether a part is what browsers send of a field for files that was
// left empty: one with a file name, which is empty as its bytes are (HTML Standard,
// section 4.10.22.4).
func (f *formFile) notChosen(disposition string) (bool, error) {
	if !strings.Contains(strings.ToLower(disposition), "filename=") {
		return false, nil
	}
	body := bufio.NewReader(f.body)
	f.body = body
	if _, err := body.Peek(1); err != io.EOF {
		return false, err
	}
	return true, nil
}

// maybeField reports whether a part looks like a field of a form, whose bytes are kept.
func (f *formFile) maybeField() (bool, error) {
	if t, _, _ := mime.ParseMediaType(f.contentType); t != "" && t != "text/plain" {
		return false, nil
	}
	start := make([]byte, fieldBytes)
	n, err := io.ReadFull(f.body, start)
	if err != nil && err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	if err != nil { // it has ended
		f.body = bytes.NewReader(start[:n])
		return true, nil
	}
	f.body = io.MultiReader(bytes.NewReader(start), f.body)
	return false, nil
}
