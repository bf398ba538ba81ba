package web_test

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
)

// event is one that a browser is told.
type event struct{ id, name, data string }

// follow opens a project's events. The channel is closed when the stream ends.
func (s *site) follow(t *testing.T, pid string, headers ...string) (<-chan event, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/page/events/"+pid, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	out := make(chan event, 1000)
	go func() {
		defer resp.Body.Close()
		defer close(out)
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<24)
		var e event
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				e.id = value
			case "event":
				e.name = value
			case "data":
				e.data = value
			case "":
				if lines.Text() == "" && e.name != "" {
					out <- e
					e = event{}
				} else if lines.Text() != "" {
					out <- event{name: "ping"}
				}
			}
		}
	}()
	return out, cancel
}

// patience is for how long an event is waited for.
const patience = 20 * time.Second

// until reads events until one fits, and returns it.
func until(t *testing.T, events <-chan event, what string, fits func(event) bool) event {
	t.Helper()
	end := time.After(patience)
	for {
		select {
		case e, ok := <-events:
			if !ok {
				t.Fatalf("the stream ended before %s", what)
			}
			if fits(e) {
				return e
			}
		case <-end:
			t.Fatalf("%s did not come", what)
		}
	}
}

// tells reports whether an event tells of an image in a state.
func tells(id, state string) func(event) bool {
	return func(e event) bool {
		var list []struct{ ID, State string }
		if e.name != "images" || json.Unmarshal([]byte(e.data), &list) != nil {
			return false
		}
		for _, img := range list {
			if img.ID == id && img.State == state {
				return true
			}
		}
		return false
	}
}

func (s *site) register(t *testing.T, pid, content string, now time.Time) broker.Image {
	t.Helper()
	return s.registerAll(t, pid, now, content)[0]
}

func (s *site) registerAll(t *testing.T, pid string, now time.Time, contents ...string) []broker.Image {
	t.Helper()
	b := broker.RegisterBatch{ProjectID: pid, Bucket: "Local", Kind: broker.GrantRequest, Now: now, ExpiresAt: now.Add(time.Hour), By: s.caller()}
	for _, content := range contents {
		b.Images = append(b.Images, broker.NewImage{ID: broker.NewID(now), Name: "a.jpg", SHA1: sha1.Sum([]byte(content)), SizeBytes: 3, Ext: "jpg"})
	}
	images, err := s.store.Register(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return images
}

func (s *site) judge(t *testing.T, img broker.Image, reasons ...broker.Reason) {
	t.Helper()
	now := time.Now()
	if _, err := s.store.See(t.Context(), img.ProjectID, "Local", []broker.Seen{{Bucket: "Local", ProjectID: img.ProjectID, Filename: img.Filename, ETag: "e", SizeBytes: 3}}, now); err != nil {
		t.Fatal(err)
	}
	if moved, err := s.store.Judge(t.Context(), postgres.Judging{ValidateArgs: broker.ValidateArgs{ImageID: img.ID, Attempt: img.Attempt, ETag: "e"}, Holder: "test"},
		broker.Verdict{SHA1: img.SHA1, Size: 3, Reasons: reasons}, now); err != nil || !moved {
		t.Fatal(moved, err)
	}
}

func (s *site) newProject(t *testing.T) broker.Project {
	t.Helper()
	p, err := s.projects.Create(t.Context(), s.caller(), "watched", broker.KindRecon)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestEvents: every move of an image is told to all who watch, with the counts, and
// the reconstruction's.
func TestEvents(t *testing.T) {
	s := open(t)
	cookie := s.signIn(t, s.secret)
	p, other := s.newProject(t), s.newProject(t)
	first, _ := s.follow(t, p.ID, "Cookie", cookie)
	second, _ := s.follow(t, p.ID, "Cookie", cookie)
	for _, events := range []<-chan event{first, second} {
		until(t, events, "the counts at the beginning", func(e event) bool { return e.name == "counts" && strings.Contains(e.data, `"Ready":0`) })
	}
	s.register(t, other.ID, "elsewhere", time.Now())
	img := s.register(t, p.ID, "one", time.Now())
	bad := s.register(t, p.ID, "two", time.Now())
	for _, events := range []<-chan event{first, second} {
		e := until(t, events, "the image", tells(img.ID, "Pending"))
		if strings.Contains(e.data, other.ID) || !strings.Contains(e.data, `"name":"a.jpg"`) {
			t.Errorf("%s", e.data)
		}
	}
	s.judge(t, img)
	s.judge(t, bad, broker.Reasonf(broker.ReasonTruncated, "so it is"))
	for _, events := range []<-chan event{first, second} {
		until(t, events, "Ready", tells(img.ID, "Ready"))
	}
	until(t, first, "the counts", func(e event) bool {
		return e.name == "counts" && strings.Contains(e.data, `"Invalid":1`) && strings.Contains(e.data, `"Ready":1`)
	})
	late, _ := s.follow(t, p.ID, "Cookie", cookie) // what changed just now, so that no list is older
	e := until(t, late, "Invalid", tells(bad.ID, "Invalid"))
	if !strings.Contains(e.data, "truncated: so it is") {
		t.Errorf("%s", e.data)
	}
	if _, err := s.store.Accept(t.Context(), mustGet(t, s, bad), time.Now(), s.caller()); err != nil {
		t.Fatal(err)
	}
	until(t, late, "the accepted one", tells(bad.ID, "Ready"))
	if err := s.store.RemoveImage(t.Context(), p.ID, img.ID, time.Now(), time.Now().Add(time.Minute), s.caller()); err != nil {
		t.Fatal(err)
	}
	until(t, first, "the removal", tells(img.ID, "Removed"))
	if err := s.store.UndoRemoveImage(t.Context(), p.ID, img.ID, time.Now(), s.caller()); err != nil {
		t.Fatal(err)
	}
	until(t, first, "the undo", tells(img.ID, "Ready"))
	task, _, err := s.tasks.PreStart(t.Context(), s.caller(), p.ID, broker.StartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	until(t, first, "the task", func(e event) bool {
		return e.name == "task" && strings.Contains(e.data, task.ID) && strings.Contains(e.data, `"stage":"waiting"`)
	})
	s.finish(t, task.ID)
	e = until(t, late, "the end of the task", func(e event) bool { return e.name == "task" && strings.Contains(e.data, `"state":"Done"`) })
	if !strings.Contains(e.data, s.URL+"/page/v1/tasks/"+task.ID+"/results/all.zip") {
		t.Errorf("%s", e.data)
	}
	until(t, second, "a sign of life", func(e event) bool { return e.name == "ping" })
}

func mustGet(t *testing.T, s *site, img broker.Image) broker.Image {
	t.Helper()
	list, err := s.store.ByID(t.Context(), img.ProjectID, []string{img.ID})
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	return list[0]
}

// TestEventsGoOn: who comes again with the last number is told what he missed, and
// not what he knows.
func TestEventsGoOn(t *testing.T) {
	s := open(t)
	cookie := s.signIn(t, s.secret)
	p := s.newProject(t)
	long := time.Now().Add(-time.Minute)
	old := s.register(t, p.ID, "old", long)
	fresh := s.register(t, p.ID, "fresh", time.Now())
	events, leave := s.follow(t, p.ID, "Cookie", cookie)
	e := until(t, events, "the fresh one", tells(fresh.ID, "Pending"))
	if strings.Contains(e.data, old.ID) {
		t.Fatalf("%+v", e)
	}
	last := until(t, events, "where to go on", func(e event) bool { return e.id != "" }).id
	leave()
	missed := s.register(t, p.ID, "missed", time.Now())
	byHeader, _ := s.follow(t, p.ID, "Cookie", cookie, "Last-Event-ID", last)
	byQuery, _ := s.follow(t, p.ID+"?last="+last, "Cookie", cookie)
	for _, events := range []<-chan event{byHeader, byQuery} {
		e = until(t, events, "what was missed", tells(missed.ID, "Pending"))
		if strings.Contains(e.data, old.ID) {
			t.Errorf("%s", e.data)
		}
	}
	// Far back, in many pieces.
	var many []string
	for n := range 1200 {
		many = append(many, fmt.Sprint("of many ", n))
	}
	s.registerAll(t, p.ID, long, many...)
	events, _ = s.follow(t, p.ID, "Cookie", cookie, "Last-Event-ID", "1")
	told := map[string]bool{}
	until(t, events, "all of them", func(e event) bool {
		var list []struct{ ID string }
		if e.name == "images" {
			if err := json.Unmarshal([]byte(e.data), &list); err != nil || len(list) > 200 {
				t.Errorf("%d images: %v", len(list), err)
			}
		}
		for _, img := range list {
			if told[img.ID] {
				t.Errorf("%s is told twice", img.ID)
			}
			told[img.ID] = true
		}
		return len(told) == 1203
	})
}

// TestEventsEnd with the session, and with the program. A public tag's goes on for
// strangers alone: its owner is told more than they.
func TestEventsEnd(t *testing.T) {
	s := open(t)
	p, tag := s.newProject(t), s.newTag(t, "open")
	signedOut, lasting := s.signIn(t, s.secret), s.signIn(t, s.secret)
	key, secret := s.newKey(t, broker.NewKey{Scopes: broker.AllScopes()})
	ended := s.signIn(t, secret)
	begun := func(pid, cookie string) <-chan event {
		events, _ := s.follow(t, pid, "Cookie", cookie)
		until(t, events, "the beginning", func(e event) bool { return e.name == "counts" })
		return events
	}
	a, b, c := begun(p.ID, signedOut), begun(p.ID, ended), begun(p.ID, lasting)
	ofTag, alsoOfTag, stranger := begun(tag.ID, signedOut), begun(tag.ID, ended), begun(tag.ID, "")
	s.do(t, http.MethodPost, "/sign-out", map[string][]string{}, "Cookie", signedOut)
	if _, err := s.store.RevokeKey(t.Context(), key.ID, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, events := range []<-chan event{a, b, ofTag, alsoOfTag} {
		until(t, events, "the end", func(e event) bool { return e.name == "end" })
		closed(t, events)
	}
	until(t, c, "a sign of life", func(e event) bool { return e.name == "ping" })
	until(t, stranger, "a sign of life", func(e event) bool { return e.name == "ping" })
	begun(tag.ID, ended) // as a stranger
	close(s.ended)
	closed(t, c)
}

func closed(t *testing.T, events <-chan event) {
	t.Helper()
	end := time.After(patience)
	for {
		select {
		case _, ok := <-events:
			if !ok {
				return
			}
		case <-end:
			t.Fatal("the stream goes on")
		}
	}
}

// TestEventsRefused: as a problem document, not as a stream.
func TestEventsRefused(t *testing.T) {
	s := open(t)
	p := s.newProject(t)
	open, hidden := s.newTag(t, "open"), s.newTag(t, "hidden")
	bob, err := s.keys.CreateOwner(t.Context(), "bob@example.com", "")
	if err != nil {
		t.Fatal(err)
	}
	_, bobs, err := s.keys.Create(t.Context(), bob, broker.NewKey{})
	if err != nil {
		t.Fatal(err)
	}
	mine, his := s.signIn(t, s.secret), s.signIn(t, bobs)
	_, blind := s.newKey(t, broker.NewKey{Scopes: []broker.Scope{broker.ScopeUpload}})
	for _, c := range []struct {
		name, pid string
		headers   []string
		status    int
	}{
		{"nobody", p.ID, nil, 401}, {"a key", p.ID, []string{"Authorization", "Bearer " + s.secret}, 401}, {"another owner", p.ID, []string{"Cookie", his}, 404},
		{"one who may not read", p.ID, []string{"Cookie", s.signIn(t, blind)}, 403}, {"no project", "none", []string{"Cookie", mine}, 404},
		{"another site", p.ID, []string{"Cookie", mine, "Sec-Fetch-Site", "cross-site"}, 403}, {"another port", p.ID, []string{"Cookie", mine, "Sec-Fetch-Site", "same-site"}, 403},
		{"a hidden tag", hidden.ID, nil, 401},
	} {
		if got := s.do(t, http.MethodGet, "/page/events/"+c.pid, nil, c.headers...); got.status != c.status || !strings.Contains(got.header.Get("Content-Type"), "problem+json") {
			t.Errorf("%s: %d, want %d: %s", c.name, got.status, c.status, got.body)
		}
	}
	events, _ := s.follow(t, open.ID)
	until(t, events, "a public tag's counts", func(e event) bool { return e.name == "counts" })
}
