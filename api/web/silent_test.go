package web_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/api/web"
	"github.com/uploadbroker/uploadbroker/broker"
)

// silentStore tells nothing until the test says what.
type silentStore struct {
	broker.KeyStore
	web.TagReader
	tags chan []broker.Tag
}

func (s silentStore) List(context.Context, broker.Caller, broker.Page) ([]broker.Tag, error) {
	return <-s.tags, nil
}

func (silentStore) SessionByHash(ctx context.Context, _ [32]byte, _ time.Time) (broker.Session, broker.Caller, error) {
	<-ctx.Done()
	return broker.Session{}, broker.Caller{}, ctx.Err()
}

// TestSilentDatabase: pages that are not of it come without it, with what was known last
// around them.
func TestSilentDatabase(t *testing.T) {
	store := silentStore{tags: make(chan []broker.Tag)}
	log := slog.New(slog.DiscardHandler)
	keys := &broker.Keys{Store: store, Now: time.Now}
	o := api.Options{Keys: keys, Log: log}
	e := api.New(o)
	web.Mount(e, web.Options{Keys: keys, Tags: store, Log: log, Ping: time.Nanosecond})
	handler := api.Server(e, o).Handler
	defer close(store.tags)
	get := func(path string, status int) bool {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		if status == http.StatusNotFound {
			r.Header.Set("Cookie", "uploadbroker=x") // who is asked for the frame alone
		}
		p := httptest.NewRecorder()
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			handler.ServeHTTP(p, r)
		}()
		select {
		case <-answered:
		case <-time.After(patience):
			t.Fatalf("%s does not come", path)
		}
		if p.Code != status {
			t.Fatalf("%s: %d %s", path, p.Code, p.Body)
		}
		return strings.Contains(p.Body.String(), `href="/tags"`)
	}
	all := func(tags bool) {
		t.Helper()
		for path, status := range map[string]int{"/sign-in": http.StatusOK, "/": http.StatusOK, "/nothing": http.StatusNotFound} {
			if get(path, status) != tags {
				t.Errorf("%s: tags are not shown as %t", path, tags)
			}
		}
	}
	all(false)
	store.tags <- []broker.Tag{{}} // the database is back
	for end := time.Now().Add(patience); !get("/nothing", http.StatusNotFound); {
		if time.Now().After(end) {
			t.Fatal("tags are never shown")
		}
	}
	all(true)
}
