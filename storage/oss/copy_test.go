package oss

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	sdk "github.com/aliyun/aliyun-oss-go-sdk/oss"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// TestCopyInParts copies what is longer than OSS copies at once.
func TestCopyInParts(t *testing.T) {
	var mu sync.Mutex
	var copied []string
	c := startCloud(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Oss-Copy-Source") != "" {
				mu.Lock()
				copied = append(copied, r.Header.Get("X-Oss-Copy-Source-Range"))
				mu.Unlock()
			}
			next.ServeHTTP(w, r)
		})
	}, "photos")
	b := open(t, c.options("photos"))
	b.copyWhole = 200_000
	data := bytes.Repeat([]byte("0123456789abc"), 40_000) // 520,000 bytes
	src, err := b.Put(t.Context(), "a b/src é", bytes.NewReader(data), storage.PutOptions{SizeBytes: -1, ContentType: "image/png"})
	if err != nil {
		t.Fatal(err)
	}
	seen, err := portable(t, b).Copy(t.Context(), "a b/src é", src.ETag, "to")
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(copied) != "[bytes=0-199999 bytes=200000-399999 bytes=400000-519999]" {
		t.Errorf("copied %v", copied)
	}
	rc, obj, err := b.Open(t.Context(), "to", storage.Range{}, seen.ETag)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	got, err := io.ReadAll(rc)
	if err != nil || !bytes.Equal(got, data) || obj.ContentType != "image/png" || seen.SizeBytes != int64(len(data)) {
		t.Errorf("%d bytes, %+v, %v", len(got), obj, err)
	}
	// What changes between two parts is no copy, and leaves nothing.
	b.transport.(*http.Transport).CloseIdleConnections()
	copied = nil
	if _, err := b.copyParts(t.Context(), storage.Object{Key: "a b/src é", SizeBytes: 520_000}, http.Header{}, sdk.CopySourceIfMatch(`"00"`), "other"); b.Code(err) != broker.CodeChanged {
		t.Error(err)
	}
	if ups, err := b.ListMultiparts(t.Context(), ""); err != nil || len(ups) != 0 {
		t.Errorf("left %v, %v", ups, err)
	}
}
