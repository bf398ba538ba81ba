package tags

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
)

// What would be kept as something else than the client thinks is refused; what is only
// unusual is not.
func TestOddRequests(t *testing.T) {
	f := open(t)
	for _, c := range []struct {
		about, request string
		status         int
		kept           string // "": nothing
	}{
		{"a part of a file", "PUT /upload/open/a HTTP/1.1\r\nHost: x\r\nContent-Range: bytes 0-2/100\r\nContent-Length: 3\r\n\r\nabc", 400, ""},
		{"compressed", "PUT /upload/open/b HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", 415, ""},
		{"not compressed", "PUT /upload/open/c HTTP/1.1\r\nHost: x\r\nContent-Encoding: Identity\r\nContent-Length: 1\r\n\r\nc", 201, "c"},
		{"of no length, as HTTP/1.0 knew it", "PUT /upload/open/d HTTP/1.0\r\n\r\nabc", 411, ""},
		{"of no length", "PUT /upload/open/e HTTP/1.1\r\nHost: x\r\n\r\n", 411, ""},
		{"HTTP/1.0", "POST /upload/open/f HTTP/1.0\r\nContent-Length: 1\r\n\r\nf", 201, "f"},
		{"shorter than told", "PUT /upload/open/g HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc", 422, ""},
		{"chunks that are none", "PUT /upload/open/h HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n", 422, ""},
		{"another script, not escaped", "PUT /upload/open/照.jpg HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\ni", 201, "照.jpg"},
		{"a name of points", "PUT /upload/open/.. HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nj", 201, "file"},
		{"a slash at the end", "PUT /upload/open/k/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nk", 201, "k"},
		{"two names", "PUT /upload/open?filename=l&filename=m HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nl", 201, "l"},
	} {
		t.Run(c.about, func(t *testing.T) {
			conn, err := net.Dial("tcp", f.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, c.request); err != nil {
				t.Fatal(err)
			}
			// Many old programs close their side when they have sent all.
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			before := len(f.objects(t, "open"))
			status, text := statusOf(t, conn)
			if status != c.status {
				t.Fatalf("the answer is %d: %s", status, text)
			}
			<-f.ended
			p, err := f.store.TagByName(t.Context(), "open")
			if c.kept == "" {
				if after := len(f.objects(t, "open")); after > before {
					t.Error("something was kept")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			images, err := f.store.ListImages(t.Context(), p.ID, "", broker.Page{Limit: 100})
			if err != nil || len(images) == 0 || images[len(images)-1].Name != c.kept {
				t.Errorf("kept is %+v, %v", images, err)
			}
		})
	}
}

func TestNamesOfForms(t *testing.T) {
	for header, want := range map[string]string{
		`form-data; name="f"; filename="a b.jpg"`:                                   "a b.jpg",
		`form-data; name="f"; filename="plain.jpg"; filename*=UTF-8''%E7%85%A7.jpg`: "照.jpg",
		`form-data; name="f"; filename*=UTF-8''%E7%85%A7.jpg`:                       "照.jpg",
		`form-data; name=f; filename=IMG 01.jpg`:                                    "IMG 01.jpg",
		`form-data; name=f; FileName=照片.jpg; size=3`:                                "照片.jpg",
		`form-data; name="f"; filename="C:\fakepath\a.jpg"`:                         `C:\fakepath\a.jpg`,
		`form-data; name="f"; filename="twice.jpg"; filename="b.jpg"`:               "twice.jpg",
		`form-data; name="f"; filename=""`:                                          "",
		`form-data; name="no file"`:                                                 "",
		`form-data; name=no file`:                                                   "",
		``:                                                                          "",
	} {
		if got := dispositionName(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
	f := open(t)
	body := "--B\r\nContent-Disposition: form-data; name=f; filename=IMG 01.jpg\r\n\r\nx\r\n--B--\r\n"
	conn := f.from(t, "127.0.0.1")
	if _, err := fmt.Fprintf(conn, "POST /upload/open HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
		t.Fatal(err)
	}
	if status, text := statusOf(t, conn); status != http.StatusCreated {
		t.Errorf("%d: %s", status, text)
	}
}
