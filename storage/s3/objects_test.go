package s3

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/uploadbroker/uploadbroker/storage"
)

// TestAnotherRange: bytes from elsewhere than asked for are an error, not the rest
// of an object.
func TestAnotherRange(t *testing.T) {
	for answer, good := range map[string]bool{
		"bytes 100-104/1000": true, "bytes 0-4/1000": false, "bytes 10-14/1000": false, "bytes 1000-1004/2000": false,
		"bytes */1000": false, "100-104/1000": false, "": false,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"e"`)
			if answer != "" {
				w.Header().Set("Content-Range", answer)
			}
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, "bytes")
		}))
		b, err := Open(t.Context(), Options{Bucket: "b", Endpoint: server.URL, PathStyle: true, AccessKeyID: "i", AccessKeySecret: "s"})
		if err != nil {
			t.Fatal(err)
		}
		body, obj, err := b.Open(t.Context(), "k", storage.Range{Offset: 100}, "e")
		if (err == nil) != good || good && obj.SizeBytes != 1000 {
			t.Errorf("Content-Range %q: %+v, %v", answer, obj, err)
		}
		if err == nil {
			body.Close()
		}
		server.Close()
	}
}
