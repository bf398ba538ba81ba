package storagetest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// SessionClient is a client of the cloud itself that holds a session and may try
// whatever the cloud offers. Where the cloud refuses the caller, the error's
// broker.CodeOf is CodeDenied; any other error is a fault.
type SessionClient interface {
	Put(ctx context.Context, key string, data []byte) error
	Get(ctx context.Context, key string) ([]byte, error)
	Head(ctx context.Context, key string) error
	List(ctx context.Context, prefix string) error
	Delete(ctx context.Context, key string) error
	Copy(ctx context.Context, from, to string) error

	// Uploads in parts, which are numbered from 1.
	Begin(ctx context.Context, key string) (uploadID string, err error)
	PutPart(ctx context.Context, key, uploadID string, number int, data []byte) (etag string, err error)
	CopyPart(ctx context.Context, key, uploadID string, number int, from string) error
	ListParts(ctx context.Context, key, uploadID string) (numbers []int, err error)
	Complete(ctx context.Context, key, uploadID string, etags []string) error
	Abort(ctx context.Context, key, uploadID string) error

	// Others tries everything else that a session must not do, on an object that
	// exists below its prefix or on the bucket, and tells how each went, by name.
	Others(ctx context.Context, key string) map[string]error
}

// session gets a session for the fixture's prefix or fails the test.
func (f *fixture) session(t *testing.T, prefix string) broker.CloudSession {
	t.Helper()
	s, err := f.Driver.(storage.Sessioner).Session(t.Context(), prefix, 15*time.Minute)
	if err != nil {
		t.Fatalf("a session for %q: %v", prefix, err)
	}
	return s
}

// partSize is what every cloud takes as a part that is not the last.
const partSize = 5 << 20

func denied(t *testing.T, what string, err error) {
	t.Helper()
	if broker.CodeOf(err) != broker.CodeDenied {
		t.Errorf("%s was not refused: %v", what, err)
	}
}

func granted(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

func testSessionRight(t *testing.T, f *fixture) {
	s := f.session(t, f.Prefix)
	if left := time.Until(s.ExpiresAt); left < 14*time.Minute || left > 16*time.Minute {
		t.Errorf("it was asked for a quarter of an hour and lives for %v", left)
	}
	if s.ID == "" || s.Secret == "" || s.Token == "" || s.Bucket == "" || !strings.Contains(s.URL(f.key("x")), "://") {
		t.Errorf("it lacks something: bucket %q, endpoint %q", s.Bucket, s.Endpoint)
	}
	c := f.WithSession(t, s)
	for _, size := range []int{0, 1, 70_000} {
		key := f.key(fmt.Sprint("put/", size))
		for range 2 { // a client that heard no answer tries again, with other bytes even
			data := randomBytes(size)
			granted(t, "put", c.Put(t.Context(), key, data))
			if got := f.get(t, key); !bytes.Equal(got, data) {
				t.Errorf("%d other bytes came back", len(got))
			}
		}
	}
	// Each call makes a session of its own, and an older one goes on.
	other := f.session(t, f.Prefix)
	if other.ID == s.ID || other.Token == s.Token {
		t.Error("two sessions are one")
	}
	granted(t, "put with the newer", f.WithSession(t, other).Put(t.Context(), f.key("two"), []byte("2")))
	granted(t, "put with the older", c.Put(t.Context(), f.key("one"), []byte("1")))

	// By way of the portable type, which asks for as long as a grant lives.
	s, err := f.b.Session(t.Context(), f.Prefix)
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(s.ExpiresAt); left < 14*time.Minute || left > f.b.Info().GrantTTL {
		t.Errorf("it lives for %v", left)
	}
	granted(t, "put with a shared one", f.WithSession(t, s).Put(t.Context(), f.key("shared"), []byte("3")))
}

func testSessionMultipart(t *testing.T, f *fixture) {
	c := f.WithSession(t, f.session(t, f.Prefix))
	key, data := f.key("folder/long.jpg"), randomBytes(partSize+1234)
	id, err := c.Begin(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	var etags []string
	for i, part := range [][]byte{data[:partSize], data[partSize:]} {
		etag, err := c.PutPart(t.Context(), key, id, i+1, part)
		if err != nil {
			t.Fatal(err)
		}
		etags = append(etags, etag)
	}
	if numbers, err := c.ListParts(t.Context(), key, id); err != nil || !slices.Equal(numbers, []int{1, 2}) {
		t.Errorf("it has the parts %v, %v", numbers, err)
	}
	f.absent(t, key)
	granted(t, "complete", c.Complete(t.Context(), key, id, etags))
	if got := f.get(t, key); !bytes.Equal(got, data) {
		t.Errorf("%d other bytes came back", len(got))
	}

	id, err = c.Begin(t.Context(), f.key("ended"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutPart(t.Context(), f.key("ended"), id, 1, []byte("x")); err != nil {
		t.Error(err)
	}
	granted(t, "abort", c.Abort(t.Context(), f.key("ended"), id))
	f.noMultiparts(t)
}

func testSessionNames(t *testing.T, f *fixture) {
	c := f.WithSession(t, f.session(t, f.Prefix))
	for i, name := range oddNames() {
		data := fmt.Sprint("object ", i)
		granted(t, fmt.Sprintf("put %q", name), c.Put(t.Context(), f.key(name), []byte(data)))
		if got := f.get(t, f.key(name)); string(got) != data {
			t.Errorf("%q reads %q, want %q", name, got, data)
		}
	}
}

// testSessionRefused tries below the session's prefix what is not writing.
func testSessionRefused(t *testing.T, f *fixture) {
	c := f.WithSession(t, f.session(t, f.Prefix))
	mine, secret := f.key("mine.jpg"), f.key("a stranger's.jpg")
	f.put(t, secret, []byte("a stranger's bytes"))
	granted(t, "put", c.Put(t.Context(), mine, []byte("own bytes")))
	for _, key := range []string{mine, secret} {
		data, err := c.Get(t.Context(), key)
		denied(t, "get", err)
		if len(data) > 0 {
			t.Errorf("%d bytes were read", len(data))
		}
		denied(t, "head", c.Head(t.Context(), key))
		denied(t, "delete", c.Delete(t.Context(), key))
		denied(t, "copy below the prefix", c.Copy(t.Context(), key, f.key("copy")))
		for name, err := range c.Others(t.Context(), key) {
			denied(t, name, err)
		}
	}
	denied(t, "head of none", c.Head(t.Context(), f.key("none"))) // nor does it learn that
	denied(t, "delete of none", c.Delete(t.Context(), f.key("none")))
	for _, prefix := range []string{f.Prefix, "", f.key("mine")} {
		denied(t, fmt.Sprintf("list %q", prefix), c.List(t.Context(), prefix))
	}
	id, err := c.Begin(t.Context(), f.key("parts"))
	if err != nil {
		t.Fatal(err)
	}
	denied(t, "copy into a part", c.CopyPart(t.Context(), f.key("parts"), id, 1, secret))
	granted(t, "abort", c.Abort(t.Context(), f.key("parts"), id))

	for key, want := range map[string]string{mine: "own bytes", secret: "a stranger's bytes"} {
		if got := f.get(t, key); string(got) != want {
			t.Errorf("%q became %q", key, got)
		}
	}
	if objs, err := f.b.List(t.Context(), f.Prefix, "", 0); err != nil || len(objs) != 2 {
		t.Errorf("there are %+v, %v", objs, err)
	}
}

// testSessionBeside tries to write anywhere but below the prefix.
func testSessionBeside(t *testing.T, f *fixture) {
	folder := strings.TrimSuffix(f.Prefix, "/")
	c := f.WithSession(t, f.session(t, f.Prefix))
	inside := f.key("source")
	f.put(t, inside, []byte("x"))
	for _, key := range []string{
		"root.jpg", folder, folder + "x/y.jpg", folder[:len(folder)-1] + "/y.jpg", folder + "-2/y.jpg", "x" + f.Prefix + "y.jpg",
		strings.ToLower(f.Prefix) + "y.jpg", "other/" + f.Prefix + "y.jpg", folder + "%2Fy.jpg", folder + ".jpg", folder + " /y.jpg",
	} {
		denied(t, fmt.Sprintf("put %q", key), c.Put(t.Context(), key, []byte("x")))
		denied(t, fmt.Sprintf("copy to %q", key), c.Copy(t.Context(), inside, key))
		_, err := c.Begin(t.Context(), key)
		denied(t, fmt.Sprintf("begin %q", key), err)
		if obj, err := f.b.Stat(t.Context(), key); broker.CodeOf(err) != broker.CodeNotFound {
			t.Errorf("%q is stored: %+v, %v", key, obj, err)
		}
	}

	// An upload in parts is below another prefix when its key is, whoever knows its id.
	owner := f.WithSession(t, f.session(t, "another-project/"))
	key := "another-project/long.jpg"
	id, err := owner.Begin(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	etag, err := owner.PutPart(t.Context(), key, id, 1, []byte("the owner's"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.PutPart(t.Context(), key, id, 1, []byte("a stranger's"))
	denied(t, "another's part", err)
	_, err = c.ListParts(t.Context(), key, id)
	denied(t, "another's list of parts", err)
	denied(t, "another's abort", c.Abort(t.Context(), key, id))
	denied(t, "another's complete", c.Complete(t.Context(), key, id, []string{etag}))
	// Nor does it work under a key of one's own.
	if _, err = c.PutPart(t.Context(), f.key("long.jpg"), id, 1, []byte("a stranger's")); err == nil {
		t.Error("a part went into another key's upload")
	}
	if err := c.Complete(t.Context(), f.key("long.jpg"), id, []string{etag}); err == nil {
		t.Error("another key's upload became an object")
	}
	granted(t, "the owner's complete", owner.Complete(t.Context(), key, id, []string{etag}))
	if got := f.get(t, key); string(got) != "the owner's" {
		t.Errorf("it became %q", got)
	}
	if err := f.b.Delete(t.Context(), key); err != nil {
		t.Error(err)
	}
}

func testSessionTampered(t *testing.T, f *fixture) {
	s, other := f.session(t, f.Prefix), f.session(t, "another-project/")
	flip := func(text string, at int) string {
		changed := []byte(text)
		if changed[at] == 'A' {
			changed[at] = 'B'
		} else {
			changed[at] = 'A'
		}
		return string(changed)
	}
	for name, change := range map[string]func(*broker.CloudSession){
		"no token":           func(s *broker.CloudSession) { s.Token = "" },
		"the token's begin":  func(s *broker.CloudSession) { s.Token = flip(s.Token, 0) },
		"the token's middle": func(s *broker.CloudSession) { s.Token = flip(s.Token, len(s.Token)/2) },
		"a shorter token":    func(s *broker.CloudSession) { s.Token = s.Token[:len(s.Token)-8] },
		"another's token":    func(s *broker.CloudSession) { s.Token = other.Token },
		"another's id":       func(s *broker.CloudSession) { s.ID = other.ID },
		"another's secret":   func(s *broker.CloudSession) { s.Secret = other.Secret },
		"another secret":     func(s *broker.CloudSession) { s.Secret = flip(s.Secret, 3) },
		"another id":         func(s *broker.CloudSession) { s.ID = flip(s.ID, len(s.ID)-1) },
		"all but the token":  func(s *broker.CloudSession) { s.ID, s.Secret = other.ID, other.Secret },
	} {
		changed := s
		change(&changed)
		denied(t, name, f.WithSession(t, changed).Put(t.Context(), f.key("x"), []byte("x")))
		f.absent(t, f.key("x"))
	}
	granted(t, "the right one", f.WithSession(t, s).Put(t.Context(), f.key("x"), []byte("x")))
}

func testSessionExpired(t *testing.T, f *fixture) {
	if f.Shift == nil {
		t.Skip("the fixture can't move the cloud's clock")
	}
	s := f.session(t, f.Prefix)
	c := f.WithSession(t, s)
	id, err := c.Begin(t.Context(), f.key("parts"))
	if err != nil {
		t.Fatal(err)
	}
	before := time.Until(s.ExpiresAt) - 10*time.Second
	f.Shift(before)
	granted(t, "put before its end", c.Put(t.Context(), f.key("early"), []byte("x")))
	f.Shift(20 * time.Second)
	denied(t, "put after its end", c.Put(t.Context(), f.key("late"), []byte("x")))
	_, err = c.PutPart(t.Context(), f.key("parts"), id, 1, []byte("x"))
	denied(t, "a part after its end", err)
	f.Shift(-before - 20*time.Second)
	objs, err := f.b.List(t.Context(), f.Prefix, "", 0)
	if err != nil || len(objs) != 1 || objs[0].Key != f.key("early") {
		t.Errorf("there are %+v, %v", objs, err)
	}
}

// testSessionPrefixes asks for sessions that would reach further.
func testSessionPrefixes(t *testing.T, f *fixture) {
	for _, prefix := range []string{
		"", "/", "a", "*/", "a*/", "?/", "a?/", "../", "./", "a/../", "a//", "/a/", "a/b/*/", "${x}/", "a\n/", "a\"/", `a\/`, "é/", " /", "a/\n",
	} {
		s, err := f.Driver.(storage.Sessioner).Session(t.Context(), prefix, time.Hour)
		if code := f.Driver.Code(err); err == nil || code != broker.CodeInvalid {
			t.Errorf("%q: a session until %v, code %q, %v", prefix, s.ExpiresAt, code, err)
		}
	}
	_, err := f.b.Session(t.Context(), "no-folder")
	wantCode(t, "a session for no folder", err, broker.CodeInvalidName)
}

// testSessionParallel gets sessions for many prefixes at once: each is its own.
func testSessionParallel(t *testing.T, f *fixture) {
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			prefix := fmt.Sprintf("parallel-%d/", i)
			s, err := f.b.Session(t.Context(), prefix)
			if err != nil {
				t.Error(err)
				return
			}
			c := f.WithSession(t, s)
			granted(t, "put", c.Put(t.Context(), prefix+"x", []byte("x")))
			denied(t, "put beside", c.Put(t.Context(), fmt.Sprintf("parallel-%d/x", (i+1)%12+100), []byte("x")))
			if err := f.b.Delete(t.Context(), prefix+"x"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
