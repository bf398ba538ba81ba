package broker_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// fakeSessions gives sessions that no cloud knows, and counts.
type fakeSessions struct {
	mu       sync.Mutex
	prefixes []string
	fail     error
	ends     time.Time
}

func (s *fakeSessions) Session(_ context.Context, prefix string) (broker.CloudSession, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prefixes = append(s.prefixes, prefix)
	return broker.CloudSession{
		ID: "STS.id", Secret: "secret", Token: "token", Endpoint: "https://oss-cn-hangzhou.aliyuncs.com", Bucket: "photos-hz",
		Region: "cn-hangzhou", ExpiresAt: s.ends,
	}, s.fail
}

// sessionWorld has a bucket of OSS between two others.
func sessionWorld(t *testing.T) (*world, *fakeSessions) {
	w := newWorld(t)
	sessions := &fakeSessions{ends: w.time().Add(50 * time.Minute)}
	w.images.Places.Replace(broker.ConfiguredOrder{},
		broker.Bucket{Symbol: "Near", Cloud: broker.CloudS3, GrantTTL: time.Hour, Signer: w.signer},
		broker.Bucket{Symbol: "Hangzhou", Cloud: broker.CloudOSS, GrantTTL: time.Hour, Signer: w.signer, Sessions: sessions},
		broker.Bucket{Symbol: "Plain", Cloud: broker.CloudOSS, GrantTTL: time.Hour, Signer: w.signer},
		broker.Bucket{Symbol: "Tokens", Cloud: broker.CloudOSS, GrantTTL: time.Hour, Sessions: sessions},
	)
	return w, sessions
}

func TestKindsOfGrants(t *testing.T) {
	w, _ := sessionWorld(t)
	p := w.project(t)
	for _, c := range []struct {
		bucket string
		ask    broker.GrantKind
		in     string
		give   broker.GrantKind
		code   broker.Code
	}{
		{"", "", "Near", broker.GrantRequest, ""},
		{"", broker.GrantRequest, "Near", broker.GrantRequest, ""},
		{"", broker.GrantSession, "Hangzhou", broker.GrantSession, ""}, // the nearest that gives such
		{"Hangzhou", "", "Hangzhou", broker.GrantSession, ""},
		{"Hangzhou", broker.GrantSession, "Hangzhou", broker.GrantSession, ""},
		{"Hangzhou", broker.GrantRequest, "Hangzhou", broker.GrantRequest, ""},
		{"Plain", "", "Plain", broker.GrantRequest, ""},
		{"Tokens", "", "Tokens", broker.GrantSession, ""},
		{"Near", broker.GrantSession, "", "", broker.CodeNotSupported},
		{"Plain", broker.GrantSession, "", "", broker.CodeNotSupported},
		{"Tokens", broker.GrantRequest, "", "", broker.CodeNotSupported},
		{"Hangzhou", broker.GrantFetch, "", "", broker.CodeInvalid},
		{"Hangzhou", "token", "", "", broker.CodeInvalid},
		{"", "SESSION", "", "", broker.CodeInvalid},
	} {
		to := broker.Target{Bucket: c.bucket, Grant: c.ask, Client: client}
		r, err := w.images.Register(t.Context(), w.by, p.ID, to, []broker.Entry{entry("a.jpg", "a")})
		if wantCode(t, err, c.code); err != nil || c.code != "" {
			continue
		}
		ids := []string{r[0].Image.ID}
		again, err := w.images.Regrant(t.Context(), w.by, p.ID, to, ids)
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range []broker.Registered{r[0], again[0]} {
			if got.Status != broker.StatusGranted {
				t.Errorf("%q of kind %q: %+v", c.bucket, c.ask, got)
				continue
			}
			g := got.Grant
			if g.Kind != c.give || g.Bucket != c.in || (g.Session.Token != "") != (c.give == broker.GrantSession) || (g.Request.URL != "") != (c.give == broker.GrantRequest) {
				t.Errorf("%q of kind %q: a grant %+v", c.bucket, c.ask, g)
			}
			if c.give == broker.GrantSession && g.Key != got.Image.Key() {
				t.Errorf("the session is for %q, the image lies at %q", g.Key, got.Image.Key())
			}
		}
	}
}

func TestOneSessionServesABatch(t *testing.T) {
	w, sessions := sessionWorld(t)
	p := w.project(t)
	five := []broker.Entry{entry("a", "a"), entry("b", "b"), entry("c", "c"), entry("d", "d"), {Name: "bad"}}
	r := w.register(t, p, "Hangzhou", five...)
	if len(sessions.prefixes) != 1 || sessions.prefixes[0] != p.ID+"/" {
		t.Errorf("sessions for %q", sessions.prefixes)
	}
	for i := range 4 {
		if r[i].Status != broker.StatusGranted || r[i].Grant.Session.ID != "STS.id" {
			t.Errorf("entry %d: %+v", i, r[i])
		}
		w.arrive(t, r[i].Image, "Hangzhou")
	}
	// What is there needs none.
	if again := w.register(t, p, "Hangzhou", five[:4]...); again[0].Status != broker.StatusExists || len(sessions.prefixes) != 1 {
		t.Errorf("again: %+v, sessions for %q", again[0], sessions.prefixes)
	}
	// A cloud that gives none is a problem of each open entry, tried once.
	sessions.fail = broker.Errorf(broker.CodeTooManyRequests, "busy")
	r = w.register(t, p, "Hangzhou", entry("a", "a"), entry("e", "e"), entry("f", "f"))
	if r[0].Status != broker.StatusExists || len(sessions.prefixes) != 2 {
		t.Errorf("%+v, sessions for %q", r[0], sessions.prefixes)
	}
	for _, got := range r[1:] {
		wantCode(t, got.Err, broker.CodeTooManyRequests)
	}
}

// registerSession asks as a client of the GraphQL contract does.
func (w *world) registerSession(p broker.Project, e broker.PlainEntry, want broker.PlainWant) (broker.Image, *broker.Grant, error) {
	return w.images.RegisterSession(context.Background(), w.by, p.ID, broker.CloudOSS, "Hangzhou", client, e, want)
}

func TestRegisterSession(t *testing.T) {
	w, sessions := sessionWorld(t)
	p := w.project(t)
	both := broker.PlainWant{Image: true, Grant: true}
	e := broker.PlainEntry{Name: "a.jpg", SHA1: hexOf("a")}

	// The image alone asks no cloud.
	img, grant, err := w.registerSession(p, e, broker.PlainWant{Image: true})
	if err != nil || grant != nil || img.State != broker.StatePending || img.Filename != hexOf("a")+".jpg" || len(sessions.prefixes) != 0 {
		t.Errorf("the image alone: %+v, %+v, %v, sessions for %q", img, grant, err, sessions.prefixes)
	}
	// The token alone makes no image, whatever else is said.
	for _, e := range []broker.PlainEntry{{}, {Name: "../x"}, {Name: "b.jpg", SHA1: hexOf("b")}, {Name: "c", SHA1: "nonsense"}} {
		img, grant, err := w.registerSession(p, e, broker.PlainWant{Grant: true})
		if err != nil || img.ID != "" || grant == nil || grant.Session.Token != "token" || grant.Key != "" {
			t.Errorf("%+v, the token alone: %+v, %+v, %v", e, img, grant, err)
		}
	}
	if n := w.countImages(t, p); n != 1 || len(sessions.prefixes) != 4 {
		t.Errorf("%d images, %d sessions", n, len(sessions.prefixes))
	}
	// Both.
	same, grant, err := w.registerSession(p, e, both)
	if err != nil || same.ID != img.ID || grant.Session.Token != "token" || grant.Key != img.Key() {
		t.Errorf("both: %+v, %+v, %v", same, grant, err)
	}
	// What is there keeps its object: the answer names another place.
	w.arrive(t, img, "Hangzhou")
	ready, grant, err := w.registerSession(p, e, both)
	if err != nil || ready.ID != img.ID || ready.State != broker.StateReady || ready.Filename != hexOf("a")+"-2.jpg" || grant.Key != ready.Key() {
		t.Errorf("of what is Ready: %+v, %+v, %v", ready, grant, err)
	}
	if found, err := w.images.Find(t.Context(), w.by, p.ID, img.ID); err != nil || found.Filename != img.Filename || found.State != broker.StateReady {
		t.Errorf("it is %+v, %v", found, err)
	}
	// Nothing asked for, nothing done.
	if _, grant, err := w.registerSession(p, broker.PlainEntry{}, broker.PlainWant{}); err != nil || grant != nil {
		t.Errorf("nothing: %+v, %v", grant, err)
	}
}

func TestRegisterSessionRefuses(t *testing.T) {
	w, sessions := sessionWorld(t)
	p := w.project(t)
	token := broker.PlainWant{Grant: true}
	for _, c := range []struct {
		name   string
		by     broker.Caller
		bucket string
		entry  broker.PlainEntry
		want   broker.PlainWant
		code   broker.Code
	}{
		{"another cloud's bucket", w.by, "Near", broker.PlainEntry{}, token, broker.CodeUnknownBucket},
		{"no bucket", w.by, "None", broker.PlainEntry{}, token, broker.CodeUnknownBucket},
		{"a bucket without a role", w.by, "Plain", broker.PlainEntry{}, token, broker.CodeNotSupported},
		{"pinned elsewhere", w.caller(t, w.ada, broker.NewKey{Clouds: []broker.Cloud{broker.CloudS3}}), "Hangzhou", broker.PlainEntry{}, token, broker.CodeNotAllowed},
		{"no scope", w.caller(t, w.ada, broker.NewKey{Scopes: []broker.Scope{broker.ScopeRead}}), "Hangzhou", broker.PlainEntry{}, token, broker.CodeNotAllowed},
		{"nobody", broker.Caller{}, "Hangzhou", broker.PlainEntry{}, token, broker.CodeUnauthenticated},
		{"no name", w.by, "Hangzhou", broker.PlainEntry{}, broker.PlainWant{Image: true}, broker.CodeInvalidName},
		{"sha1", w.by, "Hangzhou", broker.PlainEntry{Name: "a", SHA1: "abc"}, broker.PlainWant{Image: true, Grant: true}, broker.CodeInvalidSHA1},
	} {
		_, _, err := w.images.RegisterSession(t.Context(), c.by, p.ID, broker.CloudOSS, c.bucket, client, c.entry, c.want)
		if broker.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", c.name, err, c.code)
		}
	}
	eve, err := w.keys.CreateOwner(t.Context(), "eve@example.com", "")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = w.images.RegisterSession(t.Context(), w.caller(t, eve, broker.NewKey{}), p.ID, broker.CloudOSS, "Hangzhou", client, broker.PlainEntry{}, token)
	wantCode(t, err, broker.CodeNotFound)
	if _, err := w.projects.Remove(t.Context(), w.by, p.ID); err != nil {
		t.Fatal(err)
	}
	_, _, err = w.registerSession(p, broker.PlainEntry{}, token)
	wantCode(t, err, broker.CodeNotFound)
	if n := w.countImages(t, p); n != 0 || len(sessions.prefixes) != 0 {
		t.Errorf("%d images were made, %d sessions given", n, len(sessions.prefixes))
	}
}

func TestSessionURL(t *testing.T) {
	for _, c := range []struct {
		session broker.CloudSession
		key     string
		want    string
	}{
		{broker.CloudSession{Endpoint: "https://oss-cn-hangzhou.aliyuncs.com", Bucket: "b"}, "p/a b.jpg", "https://b.oss-cn-hangzhou.aliyuncs.com/p/a%20b.jpg"},
		{broker.CloudSession{Endpoint: "https://oss.example.com:8443", Bucket: "b", PathStyle: true}, "p/x", "https://oss.example.com:8443/b/p/x"},
		{broker.CloudSession{Endpoint: "http://127.0.0.1:8090", Bucket: "b"}, "p/中+~!", "http://127.0.0.1:8090/b/p/%E4%B8%AD%2B~%21"},
		{broker.CloudSession{Endpoint: "http://[::1]:8090", Bucket: "b"}, "p/x", "http://[::1]:8090/b/p/x"},
	} {
		if got := c.session.URL(c.key); got != c.want {
			t.Errorf("%q in %+v lies at %q, want %q", c.key, c.session, got, c.want)
		}
	}
}
