package web_test

import (
	"crypto/sha1"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
)

// TestHome: the frame tells whose session it is and what it may; names of projects
// are in no page of the server's, for the view writes them as text.
func TestHome(t *testing.T) {
	s := open(t)
	cookie := s.signIn(t, s.secret)
	hostile := `"><img src=x onerror=alert(1)>`
	if _, err := s.projects.Create(t.Context(), s.caller(), hostile, broker.KindRecon); err != nil {
		t.Fatal(err)
	}
	body := s.do(t, http.MethodGet, "/", nil, "Cookie", cookie).body
	for _, part := range []string{`data-page="home"`, `data-scopes="read upload manage admin"`, `data-owner="ada@example.com"`, `href="/keys"`, "<html lang=\"en\">", "/static/app/main.js"} {
		if !strings.Contains(body, part) {
			t.Errorf("the page lacks %s:\n%s", part, body)
		}
	}
	if strings.Contains(body, "onerror") {
		t.Error("the page has a project's name")
	}
	_, few := s.newKey(t, broker.NewKey{Scopes: []broker.Scope{broker.ScopeUpload}})
	if body := s.do(t, http.MethodGet, "/", nil, "Cookie", s.signIn(t, few)).body; !strings.Contains(body, `data-scopes="upload"`) || strings.Contains(body, `href="/keys"`) {
		t.Errorf("of a key that may upload alone:\n%s", body)
	}
	if body := s.do(t, http.MethodGet, "/", nil).body; strings.Contains(body, "data-page") || !strings.Contains(body, `href="/sign-in"`) {
		t.Errorf("without a session:\n%s", body)
	}
}

// TestHomeCounts: each project has its own numbers, in one question for all.
func TestHomeCounts(t *testing.T) {
	s := open(t)
	cookie := s.signIn(t, s.secret)
	for _, c := range []struct {
		name                 string
		ready, invalid, open int
	}{{"two and one", 2, 1, 0}, {"none", 0, 0, 0}, {"open", 1, 0, 3}} {
		p, err := s.projects.Create(t.Context(), s.caller(), c.name, broker.KindRecon)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond) // ids of one millisecond have no order
		now, n := time.Now(), 0
		add := func(count int, see, judge bool, reasons ...broker.Reason) {
			for range count {
				n++
				sum := sha1.Sum(fmt.Append(nil, c.name, n))
				images, err := s.store.Register(t.Context(), broker.RegisterBatch{
					ProjectID: p.ID, Bucket: "Local", Kind: broker.GrantRequest, Now: now, ExpiresAt: now.Add(time.Hour), By: s.caller(),
					Images: []broker.NewImage{{ID: broker.NewID(now), Name: "a.jpg", SHA1: sum, SizeBytes: 3, Ext: "jpg"}},
				})
				if err != nil {
					t.Fatal(err)
				}
				if !see {
					continue
				}
				if _, err := s.store.See(t.Context(), p.ID, "Local", []broker.Seen{{Bucket: "Local", ProjectID: p.ID, Filename: images[0].Filename, ETag: "e", SizeBytes: 3}}, now); err != nil {
					t.Fatal(err)
				}
				if !judge {
					continue
				}
				if _, err := s.store.Judge(t.Context(), postgres.Judging{
					ValidateArgs: broker.ValidateArgs{ImageID: images[0].ID, Attempt: 1, ETag: "e"}, Holder: "test",
				}, broker.Verdict{SHA1: sum, Size: 3, Reasons: reasons}, now); err != nil {
					t.Fatal(err)
				}
			}
		}
		add(c.ready, true, true)
		add(c.invalid, true, true, broker.Reasonf(broker.ReasonCorrupt, "so it is"))
		add(min(c.open, 1), true, false)
		add(max(c.open-1, 0), false, false)
	}
	// Removed ones count nowhere.
	list, _, err := s.projects.ListWithCounts(t.Context(), s.caller(), "two and one", broker.Page{Limit: 10})
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	images, err := s.store.ListImages(t.Context(), list[0].ID, broker.StateReady, broker.Page{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.store.RemoveImage(t.Context(), list[0].ID, images[0].ID, time.Now(), time.Now().Add(broker.UndoWindow), s.caller()); err != nil {
		t.Fatal(err)
	}
	_, counts, err := s.projects.ListWithCounts(t.Context(), s.caller(), "two and one", broker.Page{Limit: 10})
	if want := (broker.Counts{broker.StateReady: 1, broker.StateInvalid: 1}); err != nil || !maps.Equal(counts[0], want) {
		t.Errorf("%v, want %v: %v", counts, want, err)
	}
	if err := s.store.UndoRemoveImage(t.Context(), list[0].ID, images[0].ID, time.Now(), s.caller()); err != nil {
		t.Fatal(err)
	}
	var page struct {
		Projects []struct {
			Counts map[string]int `json:"counts"`
		} `json:"projects"`
	}
	s.read(t, "/page/v1/projects?counts=true", &page, "Cookie", cookie)
	var got []string
	for _, p := range page.Projects {
		n := p.Counts
		got = append(got, fmt.Sprint(n["Ready"], n["Invalid"], n["Pending"]+n["Uploading"]+n["Uploaded"]))
	}
	want := []string{"1 0 3", "0 0 0", "2 1 0"} // the newest first
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
