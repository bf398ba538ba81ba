package main

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"
)

// ossAttempt is something that a session must not allow.
type ossAttempt struct {
	name   string
	step   ossStep
	status int
	code   string
}

// denied are the refusals of one who is known, and may not.
func denied(name string, step ossStep) ossAttempt {
	return ossAttempt{name: name, step: step, status: 403, code: "AccessDenied"}
}

// attempts are those of a client whose session is alive. theirs is an object of
// another project.
func (w *ossWorld) attempts(p *ossParty, theirs string) []ossAttempt {
	own, file := p.small.key, p.small.path
	fresh := func(name string) string { return p.pid + "/" + name }
	otherPID, _, _ := strings.Cut(theirs, "/")

	all := []ossAttempt{
		denied("read its own object", ossStep{Do: "get", Key: own}),
		denied("head its own object", ossStep{Do: "head", Key: own}),
		denied("read its own object's meta", ossStep{Do: "meta", Key: own}),
		denied("read its own object's acl", ossStep{Do: "acl", Key: own}),
		denied("read its own object by a signed URL", ossStep{Do: "get-url", Key: own}),
		denied("read another's object", ossStep{Do: "get", Key: theirs}),
		denied("head another's object", ossStep{Do: "head", Key: theirs}),
		denied("head what is not there", ossStep{Do: "head", Key: fresh("nothing.jpg")}),

		denied("list its own prefix", ossStep{Do: "list", Key: p.pid + "/"}),
		denied("list its own prefix, V2", ossStep{Do: "list-v2", Key: p.pid + "/"}),
		denied("list another's prefix", ossStep{Do: "list", Key: otherPID + "/"}),
		denied("list uploads", ossStep{Do: "list-uploads"}),

		denied("delete its own object", ossStep{Do: "delete", Key: own}),
		denied("delete another's object", ossStep{Do: "delete", Key: theirs}),
		denied("delete several", ossStep{Do: "delete-many", Key: own}),

		denied("copy its own object", ossStep{Do: "copy", Key: fresh("copy.jpg"), From: own}),
		denied("copy another's object", ossStep{Do: "copy", Key: fresh("copy.jpg"), From: theirs}),
		denied("copy to another's prefix", ossStep{Do: "copy", Key: otherPID + "/copy.jpg", From: own}),
		denied("copy another's object as a part", ossStep{Do: "copy-part", Key: fresh("copy.jpg"), From: theirs}),
		denied("publish its own object", ossStep{Do: "put-acl", Key: own}),

		denied("write for another pid", ossStep{Do: "put", Key: otherPID + "/new.jpg", File: file}),
		denied("overwrite another's object", ossStep{Do: "put", Key: theirs, File: file}),
		denied("write for a pid that begins alike", ossStep{Do: "put", Key: p.pid + "x/new.jpg", File: file}),
		denied("write beside, without a slash", ossStep{Do: "put", Key: p.pid + ".jpg", File: file}),
		denied("write to the pid itself", ossStep{Do: "put", Key: p.pid, File: file}),
		denied("write for the pid cut by one", ossStep{Do: "put", Key: p.pid[:len(p.pid)-1] + "/new.jpg", File: file}),
		denied("write for the pid in lower case", ossStep{Do: "put", Key: strings.ToLower(p.pid) + "/new.jpg", File: file}),
		denied("write to the root", ossStep{Do: "put", Key: "new.jpg", File: file}),
		denied("write below another prefix", ossStep{Do: "put", Key: "x/" + p.pid + "/new.jpg", File: file}),
		denied("begin an upload for another pid", ossStep{Do: "initiate", Key: otherPID + "/new.jpg"}),
		denied("begin an upload at the root", ossStep{Do: "initiate", Key: "new.jpg"}),
		denied("send a part beside", ossStep{Do: "part-beside", Key: theirs, From: own, File: p.large.path}),
		denied("write for another pid by a signed URL", ossStep{Do: "put-url", Key: otherPID + "/new.jpg", File: file}),
		denied("append for another pid", ossStep{Do: "append", Key: otherPID + "/new.log", File: file}),

		denied("read the bucket's info", ossStep{Do: "bucket-info"}),
		denied("read the bucket's location", ossStep{Do: "bucket-location"}),
		denied("read the bucket's acl", ossStep{Do: "bucket-acl"}),
		denied("open the bucket to all", ossStep{Do: "bucket-put-acl"}),
		denied("read the bucket's cors", ossStep{Do: "bucket-cors"}),
		denied("set the bucket's cors", ossStep{Do: "bucket-put-cors"}),
		denied("delete the bucket's cors", ossStep{Do: "bucket-delete-cors"}),
		denied("delete the bucket", ossStep{Do: "bucket-delete"}),
		denied("list the buckets", ossStep{Do: "buckets"}),
	}
	for i := range all {
		all[i].step.Session = p.session
	}

	// Who they say they are is not so.
	put := ossStep{Do: "put", Key: fresh("new.jpg"), File: file, Session: p.session}
	as := func(change func(*ossStep)) ossStep {
		step := put
		change(&step)
		return step
	}
	return append(all,
		ossAttempt{"a tampered signature", as(func(s *ossStep) { s.Tamper = true }), 403, "SignatureDoesNotMatch"},
		ossAttempt{"a wrong secret", as(func(s *ossStep) { s.Session.Secret = flip(s.Session.Secret) }), 403, "SignatureDoesNotMatch"},
		ossAttempt{"a tampered token", as(func(s *ossStep) { s.Session.Token = flip(s.Session.Token) }), 403, "InvalidSecurityToken"},
		ossAttempt{"no token", as(func(s *ossStep) { s.Session.Token = "" }), 403, "InvalidAccessKeyId"},
		ossAttempt{"an id that is not the token's", as(func(s *ossStep) { s.Session.ID = flip(s.Session.ID) }), 403, "InvalidSecurityToken"},
	)
}

// flip changes one character in the middle.
func flip(secret string) string {
	b := []byte(secret)
	if i := len(b) / 2; b[i] == 'A' {
		b[i] = 'B'
	} else {
		b[i] = 'A'
	}
	return string(b)
}

// staleSession is one that has ended, and the project that it was for.
type staleSession struct {
	pid     string
	session ossSession
}

// endedSession gets a session from a cloud whose clock is behind and then ahead:
// both by less than the quarter of an hour that signatures may be off, so that
// nothing is wrong but the session's end.
func (w *ossWorld) endedSession(t *testing.T) staleSession {
	t.Helper()
	const off = 13 * time.Minute
	w.ahead.Store(int64(-off))
	t.Cleanup(func() { w.ahead.Store(0) })
	s := staleSession{pid: w.newProject(t, "stale")}
	_, _, s.session = w.register(t, s.pid, "DJI_0001.JPG", strings.Repeat("ab", 20))
	w.ahead.Store(int64(off))
	return s
}

func (w *ossWorld) endedAttempts(p *ossParty, stale staleSession) []ossAttempt {
	with := func(name, do string) ossAttempt {
		step := ossStep{Do: do, Key: stale.pid + "/new.jpg", File: p.small.path, Session: stale.session}
		return ossAttempt{name, step, 403, "SecurityTokenExpired"}
	}
	return []ossAttempt{
		with("write, expired token", "put"),
		with("begin an upload, expired token", "initiate"),
		with("write by a signed URL, expired token", "put-url"),
	}
}

// refused runs attempts and looks that each was refused for the right reason, and
// that the bucket is as it was.
func (w *ossWorld) refused(t *testing.T, p *ossParty, attempts []ossAttempt, before string) {
	t.Helper()
	run := slices.DeleteFunc(attempts, func(a ossAttempt) bool { return p.client.cannot(a.step) })
	steps := make([]ossStep, len(run))
	for i, a := range run {
		steps[i] = a.step
	}
	for i, got := range p.client.run(t, steps) {
		want := run[i]
		want.code = cmp.Or(p.client.unread[want.step.Do], want.code)
		t.Logf("%-16s %-40s %s", p.client.name, want.name, got)
		if got.OK || got.Status != want.status || got.Code != want.code {
			t.Errorf("%s: %s: %s, want %d %s", want.name, got, got.Message, want.status, want.code)
		}
	}
	if after := w.contents(t); after != before {
		t.Errorf("the refused attempts left something behind; before:\n%s\nafter:\n%s", before, after)
	}
}
