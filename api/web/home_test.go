package web_test

import (
	"crypto/sha1"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
)

// TestHome counts each project's images, and shows hostile names as text.
func TestHome(t *testing.T) {
	s := open(t)
	cookie := s.signIn(t, s.secret)
	home := func() string { return s.do(t, http.MethodGet, "/", nil, "Cookie", cookie).body }
	if body := home(); !strings.Contains(body, "No project yet") {
		t.Errorf("%s", body)
	}
	hostile := []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `{{.Owner}}`, `</strong></li></ul><h1>free</h1>`,
		`javascript:alert(1)`, `&lt;b&gt;`, "a\u202egpj.exe", `' style='x`,
	}
	for _, name := range hostile {
		if _, err := s.projects.Create(t.Context(), s.caller(), name, broker.KindRecon); err != nil {
			t.Fatal(err)
		}
	}
	body := home()
	for _, bad := range []string{"<script>alert", "<img src=x", "<h1>free", " style='x", " onerror=alert(1)>"} {
		if strings.Contains(body, bad) {
			t.Errorf("the page has %s", bad)
		}
	}
	for _, shown := range []string{"&lt;script&gt;alert(1)&lt;/script&gt;", "{{.Owner}}", "&amp;lt;b&amp;gt;", "<bdi>a\u202egpj.exe</bdi>"} {
		if !strings.Contains(body, shown) {
			t.Errorf("the page lacks %s", shown)
		}
	}
	if n := strings.Count(body, "<li>"); n != len(hostile) {
		t.Errorf("%d projects, want %d", n, len(hostile))
	}

	// Another owner's are not there, nor what his key is not tied to.
	bob, err := s.keys.CreateOwner(t.Context(), "bob@example.com", "")
	if err != nil {
		t.Fatal(err)
	}
	_, secret, err := s.keys.Create(t.Context(), bob, broker.NewKey{})
	if err != nil {
		t.Fatal(err)
	}
	if body := s.do(t, http.MethodGet, "/", nil, "Cookie", s.signIn(t, secret)).body; !strings.Contains(body, "No project yet") {
		t.Errorf("%s", body)
	}
	p, err := s.projects.Create(t.Context(), s.caller(), "the only one", broker.KindRecon)
	if err != nil {
		t.Fatal(err)
	}
	_, tied := s.newKey(t, broker.NewKey{ProjectID: p.ID})
	if body := s.do(t, http.MethodGet, "/", nil, "Cookie", s.signIn(t, tied)).body; strings.Count(body, "<li>") != 1 || !strings.Contains(body, "the only one") {
		t.Errorf("%s", body)
	}
	_, blind := s.newKey(t, broker.NewKey{Scopes: []broker.Scope{broker.ScopeUpload}})
	if body := s.do(t, http.MethodGet, "/", nil, "Cookie", s.signIn(t, blind)).body; strings.Contains(body, "<li>") || !strings.Contains(body, "may not see projects") {
		t.Errorf("%s", body)
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
	body := s.do(t, http.MethodGet, "/", nil, "Cookie", cookie).body
	var got []string
	for _, item := range strings.Split(body, "<li>")[1:] {
		var numbers []string
		for _, m := range regexp.MustCompile(`<span class="(?:ready|open|invalid|none)">([^<]+)</span>`).FindAllStringSubmatch(item, -1) {
			numbers = append(numbers, m[1])
		}
		got = append(got, strings.Join(numbers, ", "))
	}
	want := []string{"1 Ready, 3 on the way", "no images yet", "2 Ready, 1 Invalid"} // the newest first
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
