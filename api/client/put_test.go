package client

import (
	"errors"
	"hash/crc64"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// 11177612005948864433 is what OSS answers for "hello".
func TestBodyComparesWhatTheBucketSaw(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	read := func(n int64, summed bool) *putBody {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		b := &putBody{f: f, left: n, moved: func(int64) {}}
		if summed {
			b.crc = crc64.New(crc64.MakeTable(crc64.ECMA))
		}
		if _, err := io.Copy(io.Discard, b); err != nil {
			t.Fatal(err)
		}
		b.end()
		return b
	}
	for _, c := range []struct {
		crc    string
		n      int64
		summed bool
		want   bool
	}{
		{"11177612005948864433", 5, true, true},
		{"11177612005948864434", 5, true, false},
		{"11177612005948864433", 4, true, false},
		{"0", 0, true, true},
		{"", 5, true, true}, // it does not say
		{"-1", 5, true, false},
		{"1", 5, false, true}, // of a presigned request nobody asks
	} {
		if got := read(c.n, c.summed).is(c.crc); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestWhenAGrantIsRenewed(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name    string
		session bool
		life    time.Duration // when it was given
		left    time.Duration // now
		refused bool
		want    bool
	}{
		{"a session with an hour", true, time.Hour, 6 * time.Minute, false, false},
		{"near its end", true, time.Hour, 5*time.Minute - 1, false, true},
		{"past it", true, time.Hour, -time.Hour, false, true},
		{"half of the shortest life, just given", true, 450 * time.Second, 450 * time.Second, false, false},
		{"the same, after its two thirds", true, 450 * time.Second, 149 * time.Second, false, true},
		{"ended when it was given, by some clock", true, -time.Second, -time.Second, false, false},
		{"refused since", true, time.Hour, time.Hour, true, true},
		{"a request with hours", false, 3 * time.Hour, 61 * time.Second, false, false},
		{"a request near its end", false, 3 * time.Hour, 59 * time.Second, false, true},
	} {
		r := &run{c: &Client{now: func() time.Time { return now }, state: &shared{}}}
		it := &item{grant: &Grant{ExpiresAt: now.Add(c.left)}, given: time.Now(), life: c.life}
		if c.session {
			it.grant.Session = &Session{ID: "a"}
		}
		r.refused.note(&Session{ID: "b"})
		if c.refused {
			r.refused.note(it.grant.Session)
		}
		if got := r.ending(it); got != c.want {
			t.Errorf("%s: renewed is %v", c.name, got)
		}
		// The server gives the same again: it must be tried once more.
		if it.given, it.life = time.Now(), c.left; c.refused && r.ending(it) {
			t.Errorf("%s: a session that is given again is renewed for ever", c.name)
		}
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		f    putFault
		want putVerdict
	}{
		{putFault{status: 403, code: "RequestTimeTooSkewed", session: true}, putSkewed},
		{putFault{status: 403, code: "RequestTimeTooSkewed"}, putEnded},
		{putFault{status: 403, code: "AccessDenied", session: true}, putDenied},
		{putFault{status: 403, code: "AccessDenied"}, putEnded}, // an expired URL says so too
		{putFault{status: 403, code: "SignatureDoesNotMatch", session: true}, putDenied},
		{putFault{status: 403, code: "SecurityTokenExpired", session: true}, putEnded},
		{putFault{status: 400, code: "InvalidSecurityToken", session: true}, putEnded},
		{putFault{status: 403, code: "UserDisable", session: true}, putRefused},
		{putFault{status: 403, code: "KmsDisabled", session: true}, putEnded},
		{putFault{status: 200, changed: true, session: true}, putOtherBytes},
		{putFault{status: 203, code: "CallbackFailed", changed: true, session: true}, putOtherBytes},
		{putFault{status: 400, code: "InvalidDigest", session: true}, putOtherBytes},
		{putFault{status: 503, session: true}, putBusy},
		{putFault{status: 409, code: "QpsLimitExceeded", session: true}, putBusy},
		{putFault{status: 409, code: "PartNotSequential", session: true}, putFailed},
		{putFault{status: 307, session: true}, putRefused},
		{putFault{status: 411, code: "MissingContentLength", session: true}, putRefused},
		{putFault{err: errors.New("reset"), session: true}, putFailed},
	} {
		if got := c.f.verdict(); got != c.want {
			t.Errorf("%d %q: %d, want %d", c.f.status, c.f.code, got, c.want)
		}
	}
}
