package web_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestStrangersKeepNobodyOut: from one address only some may watch without a session,
// and who has one is let in all the same.
func TestStrangersKeepNobodyOut(t *testing.T) {
	s := open(t)
	cookie := s.signIn(t, s.secret)
	p := s.newTag(t, "open")
	var leave func()
	var first <-chan event
	for n := range 16 {
		events, cancel := s.follow(t, p.ID)
		if n == 0 {
			first = events
		}
		until(t, events, "the counts", func(e event) bool { return e.name == "counts" })
		leave = func() {
			cancel()
			closed(t, events)
		}
	}
	if status, end := s.tryFollow(t, p.ID); status == http.StatusOK {
		end()
		t.Fatal("one more is let in")
	}
	full := s.do(t, http.MethodGet, "/page/events/"+p.ID, nil)
	if full.status != http.StatusTooManyRequests || full.header.Get("Retry-After") == "" || !strings.Contains(full.body, `"code":"too_many_requests"`) {
		t.Fatalf("%d %v %s", full.status, full.header, full.body)
	}
	events, _ := s.follow(t, p.ID, "Cookie", cookie)
	until(t, events, "the owner's counts", func(e event) bool { return e.name == "counts" })
	// Refused ones take nothing, and a place is free again when its viewer is gone.
	leave()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		status, cancel := s.tryFollow(t, p.ID)
		cancel()
		if status == http.StatusOK {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d: the place is not given back", status)
		}
	}
	// One question for all of them tells that there is nothing for them any more.
	if _, err := s.projects.Remove(t.Context(), s.caller(), p.ID); err != nil {
		t.Fatal(err)
	}
	until(t, first, "the end", func(e event) bool { return e.name == "end" })
	closed(t, first)
}

// tryFollow is the status that a stream begins with.
func (s *site) tryFollow(t *testing.T, pid string) (status int, leave func()) {
	t.Helper()
	resp, err := http.Get(s.URL + "/page/events/" + pid)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, func() { _ = resp.Body.Close() }
}

// TestEventsFarBehind: who missed too much is told to read the lists anew, and what
// happens from then on.
func TestEventsFarBehind(t *testing.T) {
	s := open(t)
	p := s.newTag(t, "open")
	long := time.Now().Add(-time.Minute)
	var many []string
	for n := range 2001 {
		many = append(many, fmt.Sprint("of many ", n))
	}
	s.registerAll(t, p.ID, long, many[0])
	const begin = "1" // before which nothing was
	s.registerAll(t, p.ID, long, many[1:]...)
	for name, path := range map[string]string{"a number": p.ID + "?last=" + begin, "zero": p.ID + "?last=0"} {
		events, _ := s.follow(t, path)
		until(t, events, "the word to read anew", func(e event) bool {
			if e.name == "images" {
				t.Errorf("%s: images are told: %.200s", name, e.data)
			}
			return e.name == "reload"
		})
		last := until(t, events, "where to go on", func(e event) bool { return e.id != "" })
		if last.name != "counts" || !strings.Contains(last.data, `"Pending":200`) {
			t.Errorf("%s: %+v", name, last)
		}
		fresh := s.register(t, p.ID, "fresh "+name, time.Now())
		until(t, events, "what is new", tells(fresh.ID, "Pending"))
	}
}
