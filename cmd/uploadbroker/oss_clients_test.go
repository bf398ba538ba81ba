package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Programs in the field upload to OSS with Aliyun's own clients: they ask the
// broker for an image and a session, as they always did, and do the rest by
// themselves. Here they run against the emulator with what the broker gave them,
// and then try what must be refused.

const (
	ossBucket  = "field-photos"
	ossRegion  = "cn-hangzhou"
	ossSymbol  = "Hangzhou"
	ossRole    = "acs:ram::1234567890123456:role/uploader"
	accountID  = "LTAIfieldclients"
	accountKey = "the-secret-of-the-account"

	ossPartSize = 1 << 20
)

// ossSession is what uploadImageOSS answers, from which a client is made.
type ossSession struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
	Token  string `json:"token"`
}

// ossStep is one thing that a client does.
type ossStep struct {
	Do      string     `json:"do"`
	Key     string     `json:"key"`
	From    string     `json:"from,omitempty"` // the source of a copy
	File    string     `json:"file,omitempty"` // a path
	Session ossSession `json:"session"`
	Tamper  bool       `json:"tamper,omitempty"` // with the signature, on its way
}

// ossAnswer is how that went.
type ossAnswer struct {
	OK      bool   `json:"ok"`
	Status  int    `json:"status"` // of the refusal, else 200
	Code    string `json:"code"`   // as the client tells it
	Message string `json:"message"`
}

func (a ossAnswer) String() string {
	if a.OK {
		return "ok"
	}
	return fmt.Sprintf("%d %s", a.Status, a.Code)
}

// ossClient is one of Aliyun's clients.
type ossClient struct {
	name  string
	lacks string // steps that it has no method for, by their names
	// unread has the codes that the client makes up for steps whose refusal it
	// can't read: the answer to a HEAD has no body, but the header x-oss-err.
	unread map[string]string
	page   bool // it runs in a browser
	run    func(t *testing.T, steps []ossStep) []ossAnswer
}

// cannot tells whether the client has no such step.
func (c ossClient) cannot(step ossStep) bool {
	return slices.Contains(strings.Fields(c.lacks), step.Do)
}

// ossParty is one client with a project of its own.
type ossParty struct {
	client  ossClient
	pid     string
	session ossSession
	small   ossImage
	large   ossImage
}

// ossImage is a photo and what the broker calls it.
type ossImage struct {
	id   string
	key  string
	path string
	sha1 string
}

// TestOSSClients: what the broker gives is enough to upload with, for each
// client, and for nothing else.
func TestOSSClients(t *testing.T) {
	t.Parallel()
	w := startOSSWorld(t)
	var parties []*ossParty
	for i, c := range w.clients(t) {
		parties = append(parties, w.party(t, c, uint64(i)))
	}
	if t.Failed() {
		return
	}

	t.Run("rights", func(t *testing.T) {
		for _, p := range parties {
			t.Run(p.client.name, func(t *testing.T) {
				t.Parallel()
				w.rights(t, p)
			})
		}
	})
	if t.Failed() {
		return // there is nothing yet to be refused
	}

	// There is something to steal beside, and a session that has ended.
	theirs := w.newProject(t, "theirs") + "/theirs.jpg"
	if err := w.account.PutObject(theirs, strings.NewReader("somebody else's")); err != nil {
		t.Fatal(err)
	}
	before := w.contents(t)
	for _, p := range parties {
		t.Run("refused/"+p.client.name, func(t *testing.T) { w.refused(t, p, w.attempts(p, theirs), before) })
	}
	stale := w.endedSession(t)
	before = w.contents(t)
	for _, p := range parties {
		t.Run("refused/"+p.client.name+"/ended", func(t *testing.T) { w.refused(t, p, w.endedAttempts(p, stale), before) })
	}
	w.ahead.Store(0)
	for _, p := range parties {
		if p.client.page {
			t.Run("elsewhere/"+p.client.name, func(t *testing.T) { w.refusedElsewhere(t, p) })
		}
	}
}

// rights is what a session is for: its uploads arrive as they were, and become
// Ready.
func (w *ossWorld) rights(t *testing.T, p *ossParty) {
	awkward, byURL := p.pid+"/sub dir/a+b 'c' (1)~中.jpg", p.pid+"/by-url.jpg"
	steps := []ossStep{
		{Do: "put", Key: p.small.key, File: p.small.path},
		{Do: "multipart", Key: p.large.key, File: p.large.path},
		{Do: "put", Key: awkward, File: p.small.path},
		{Do: "multipart-abort", Key: p.pid + "/given-up.jpg", File: p.large.path},
		{Do: "put-url", Key: byURL, File: p.small.path},
	}
	steps = slices.DeleteFunc(steps, p.client.cannot)
	for i := range steps {
		steps[i].Session = p.session
	}
	for i, a := range p.client.run(t, steps) {
		t.Logf("%-16s %-40s %s", p.client.name, steps[i].Do, a)
		if !a.OK {
			t.Errorf("%s of %s: %s: %s", steps[i].Do, steps[i].Key, a, a.Message)
		}
	}
	if t.Failed() {
		return
	}
	for _, step := range steps {
		if step.Do != "multipart-abort" {
			w.same(t, step.Key, step.File)
		}
	}
	for _, img := range []ossImage{p.small, p.large} {
		w.done(t, img.id)
	}
	for _, img := range []ossImage{p.small, p.large} {
		w.waitReady(t, p.pid, img)
	}
}

// same compares an object with a file.
func (w *ossWorld) same(t *testing.T, key, path string) {
	t.Helper()
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	body, err := w.account.GetObject(key)
	if err != nil {
		t.Errorf("%s is not in the bucket: %v", key, err)
		return
	}
	defer body.Close()
	if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s holds %d bytes which are not the %d of %s (%v)", key, len(got), len(want), filepath.Base(path), err)
	}
}
