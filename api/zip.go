package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// stall is how long a client may take nothing before its download ends.
const stall = 5 * time.Minute

// ServeZip lets net/http serve a zip, whole or in ranges, and closes it. It panics
// with http.ErrAbortHandler when the zip can't be read to its end.
func ServeZip(w http.ResponseWriter, r *http.Request, z *broker.Zip) {
	defer z.Close()
	asked := *r
	asked.Header = r.Header.Clone()
	if IsHead(r.Context()) {
		asked.Method = http.MethodHead
	}
	// A range is of a GET, and a unit that nobody knows is no range (RFC 9110, section
	// 14.2); net/http sees to neither.
	if asked.Method == http.MethodHead || !strings.HasPrefix(r.Header.Get("Range"), "bytes=") {
		asked.Header.Del("Range")
	}
	r = &asked
	h := w.Header()
	h.Set("Content-Type", "application/zip")
	h.Set("Content-Disposition", Attachment(z.Project.Name+".zip"))
	h.Set("ETag", `"`+z.ETag()+`"`)
	h.Set("Cache-Control", "private, no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	paced := &pacedZip{Zip: z, control: http.NewResponseController(w)}
	defer paced.done()
	http.ServeContent(&zipWriter{ResponseWriter: w, size: z.SizeBytes()}, r, "", time.Time{}, paced)
	_ = z.Close() // ends a read that goes on
	if z.Err() != nil {
		// The log tells why. A part of the bytes must not look like all of them.
		panic(http.ErrAbortHandler)
	}
}

// pacedZip ends a download whose client takes nothing for long: it holds a
// connection to a bucket, and a place of its caller.
type pacedZip struct {
	*broker.Zip
	control *http.ResponseController
	set     time.Time
}

func (p *pacedZip) Read(b []byte) (int, error) {
	if now := time.Now(); now.Sub(p.set) > stall/10 {
		p.set = now
		_ = p.control.SetWriteDeadline(now.Add(stall)) // a writer without deadlines waits
	}
	return p.Zip.Read(b)
}

func (p *pacedZip) done() { _ = p.control.SetWriteDeadline(time.Time{}) }

// zipWriter turns net/http's plain refusals into problem documents.
type zipWriter struct {
	http.ResponseWriter
	size    int64
	refused bool
}

func (w *zipWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *zipWriter) WriteHeader(status int) {
	var why string
	switch status {
	case http.StatusRequestedRangeNotSatisfiable:
		why = "the zip has no such range; Content-Range tells its length"
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", w.size)) // net/http does not always
	case http.StatusPreconditionFailed:
		why = "the zip has changed and is another one than the request asks for; delete what you have of it, and download it anew"
	default:
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.refused = true
	p := StatusProblem(status, why, nil)
	w.Header().Set("Content-Type", p.ContentType(""))
	w.Header().Del("Content-Length")
	w.Header().Del("Content-Disposition")
	w.ResponseWriter.WriteHeader(status)
	_ = json.NewEncoder(w.ResponseWriter).Encode(p) // the client left
}

func (w *zipWriter) Write(b []byte) (int, error) {
	if w.refused {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// zipBuffer is what is read and written at once: with io.Copy's 32 KiB the system is
// called much more often.
const zipBuffer = 256 << 10

// ReadFrom is how io.Copy passes the bytes on.
func (w *zipWriter) ReadFrom(r io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, zipBuffer))
}

// Attachment is a Content-Disposition that names the file which a browser stores
// (RFC 6266): in ASCII for old ones, and as it is.
func Attachment(name string) string {
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, name)
	plain := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '%' {
			return '_'
		}
		return r
	}, name)
	return `attachment; filename="` + plain + `"; filename*=UTF-8''` + strings.ReplaceAll(url.QueryEscape(name), "+", "%20")
}
