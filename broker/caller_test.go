package broker

import (
	"testing"
	"time"
)

func TestScopesImplyNothing(t *testing.T) {
	for _, has := range AllScopes() {
		c := Caller{Owner: Owner{ID: "o"}, Key: Key{ID: "k", Scopes: []Scope{has}}}
		for _, s := range AllScopes() {
			want := Code("")
			if s != has {
				want = CodeNotAllowed
			}
			if err := c.Need(s); CodeOf(err) != want || c.Can(s) != (s == has) {
				t.Errorf("a key with %s, asked for %s: %v", has, s, err)
			}
		}
		if err := c.Need(""); err != nil {
			t.Errorf("any good key: %v", err)
		}
	}
	var nobody Caller
	for _, s := range append(AllScopes(), "") {
		if err := nobody.Need(s); CodeOf(err) != CodeUnauthenticated {
			t.Errorf("nobody, asked for %q: %v", s, err)
		}
	}
	if nobody.Known() || nobody.MaySee("", "") {
		t.Error("nobody is known, or sees what nobody owns")
	}
	// Scopes of a key that is none count for nothing.
	if err := (Caller{Key: Key{Scopes: AllScopes()}}).Need(ScopeAdmin); CodeOf(err) != CodeUnauthenticated {
		t.Errorf("scopes without a key: %v", err)
	}
}

func TestWhatACallerSees(t *testing.T) {
	free := Caller{Owner: Owner{ID: "ada"}, Key: Key{ID: "k"}}
	tied := Caller{Owner: Owner{ID: "ada"}, Key: Key{ID: "k", ProjectID: "p1"}}
	admin := Caller{Owner: Owner{ID: "op"}, Key: Key{ID: "k", Scopes: []Scope{ScopeAdmin}}}
	for _, c := range []struct {
		by             Caller
		owner, project string
		want           bool
	}{
		{free, "ada", "p1", true}, {free, "ada", "p2", true}, {free, "bob", "p1", false}, {free, "", "p1", false},
		{tied, "ada", "p1", true}, {tied, "ada", "p2", false}, {tied, "bob", "p1", false},
		{admin, "ada", "p1", false}, // reads no other owner's images
	} {
		if got := c.by.MaySee(c.owner, c.project); got != c.want {
			t.Errorf("%s's key tied to %q sees %s of %s: %t", c.by.Owner.ID, c.by.Key.ProjectID, c.project, c.owner, got)
		}
	}
}

func TestPinnedClouds(t *testing.T) {
	for _, c := range []struct {
		pinned []Cloud
		cloud  Cloud
		want   bool
	}{
		{nil, CloudS3, true}, {nil, CloudOSS, true},
		{[]Cloud{CloudS3}, CloudS3, true}, {[]Cloud{CloudS3}, CloudOSS, false}, {[]Cloud{CloudS3}, CloudMinIO, false},
		{[]Cloud{CloudOSS, CloudMinIO}, CloudMinIO, true},
	} {
		if got := (Caller{Key: Key{ID: "k", Clouds: c.pinned}}).MayUse(c.cloud); got != c.want {
			t.Errorf("a key pinned to %q may use %s: %t", c.pinned, c.cloud, got)
		}
	}
}

func TestLiveKeys(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) *time.Time { end := now.Add(d); return &end }
	for _, c := range []struct {
		name string
		key  Key
		want bool
	}{
		{"for ever", Key{}, true},
		{"ends later", Key{ExpiresAt: at(1)}, true},
		{"ends now", Key{ExpiresAt: at(0)}, false},
		{"ended", Key{ExpiresAt: at(-1)}, false},
		{"revoked", Key{RevokedAt: at(-1)}, false},
		{"revoked by a clock ahead of ours", Key{RevokedAt: at(time.Minute)}, false},
		{"revoked and not ended", Key{RevokedAt: at(-1), ExpiresAt: at(1)}, false},
	} {
		if got := c.key.Live(now); got != c.want {
			t.Errorf("%s: live %t", c.name, got)
		}
	}
}

func TestParseScopeAndCloud(t *testing.T) {
	for _, s := range AllScopes() {
		if got, err := ParseScope(string(s)); err != nil || got != s {
			t.Errorf("ParseScope(%q) = %q, %v", s, got, err)
		}
	}
	for _, c := range []Cloud{"S3", "OSS", "MINIO"} {
		if got, err := ParseCloud(string(c)); err != nil || got != c {
			t.Errorf("ParseCloud(%q) = %q, %v", c, got, err)
		}
	}
	for _, bad := range []string{"", "READ", " read", "s3", "MinIO", "*"} {
		if _, err := ParseScope(bad); CodeOf(err) != CodeInvalid {
			t.Errorf("ParseScope(%q) = %v", bad, err)
		}
		if _, err := ParseCloud(bad); CodeOf(err) != CodeInvalid {
			t.Errorf("ParseCloud(%q) = %v", bad, err)
		}
	}
}
