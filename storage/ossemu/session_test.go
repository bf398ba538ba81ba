package ossemu

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"
)

func TestTokensOutliveTheProcess(t *testing.T) {
	now := time.Date(2026, 11, 21, 1, 1, 6, 700_000_000, time.UTC)
	document := statementJSON(`{"Effect":"Allow","Action":"oss:PutObject","Resource":"acs:oss:*:*:b/p/*"}`)
	id, secret, token := testSession(t, testAuthority(t, now), time.Hour, document)
	again := testAuthority(t, now.Add(time.Minute))
	s, err := again.openToken(token)
	if err != nil {
		t.Fatal(err)
	}
	if s.keyID != id || again.secretOfSession(id) != secret || s.name != "tester" {
		t.Errorf("%+v", s)
	}
	if !s.allows("oss:PutObject", "acs:oss:*:*:b/p/x") || s.allows("oss:PutObject", "acs:oss:*:*:b/q/x") {
		t.Error("the policy is another")
	}
	end := time.Date(2026, 11, 21, 2, 1, 6, 0, time.UTC)
	if s.ended(end.Add(-time.Second)) || !s.ended(end) {
		t.Errorf("ends at %v", s.expires)
	}
}

func TestTokensOfOthersDoNotOpen(t *testing.T) {
	_, _, token := testSession(t, testAuthority(t, time.Time{}), time.Hour, "")
	for name, change := range map[string]func(*Options){
		"secret": func(o *Options) { o.AccessKeySecret += "x" },
		"key":    func(o *Options) { o.AccessKeyID += "x" },
		"role":   func(o *Options) { o.RoleARN += "x" },
	} {
		if _, err := testAuthority(t, time.Time{}, change).openToken(token); err == nil {
			t.Errorf("another %s: opened", name)
		}
	}
}

func TestNoTamperedTokenOpens(t *testing.T) {
	a := testAuthority(t, time.Time{})
	_, _, token := testSession(t, a, time.Hour, "")
	raw, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		for bit := range 8 {
			raw[i] ^= 1 << bit
			if _, err := a.openToken(base64.StdEncoding.EncodeToString(raw)); err == nil {
				t.Fatalf("byte %d, bit %d changed: opened", i, bit)
			}
			raw[i] ^= 1 << bit
		}
	}
	for i := range token {
		if token[i] == '=' {
			continue
		}
		for _, c := range "Az0+/" {
			if byte(c) == token[i] {
				continue
			}
			if _, err := a.openToken(token[:i] + string(c) + token[i+1:]); err == nil {
				t.Fatalf("character %d as %c: opened", i, c)
			}
		}
	}
	// The last character before the padding holds bits that no byte needs: they
	// must be zero. Three lengths have the three paddings.
	for _, name := range []string{"a", "ab", "abc"} {
		_, _, token, err := a.newSession(name, time.Hour, nil)
		if err != nil {
			t.Fatal(err)
		}
		last := len(strings.TrimRight(token, "=")) - 1
		for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
			if _, err := a.openToken(token[:last] + string(c) + token[last+1:]); (err == nil) != (c == token[last]) {
				t.Errorf("%s: the last character as %c: %v", token, c, err)
			}
		}
	}
	for _, other := range []string{"", "CAIS", token[:len(token)-4], token + token, token + "\n", token[:8] + "\r\n" + token[8:], strings.TrimRight(token, "=") + "x", " " + token} {
		if _, err := a.openToken(other); err == nil {
			t.Errorf("%q: opened", other)
		}
	}
}

func FuzzOpenToken(f *testing.F) {
	a := testAuthority(f, time.Time{}, func(o *Options) { o.AccessKeySecret = "of this run: " + newRequestID() })
	_, _, token := testSession(f, testAuthority(f, time.Time{}), time.Hour, "")
	for _, seed := range []string{"", "CAIS", token, token[:20], strings.Repeat("A", 64)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if s, err := a.openToken(token); err == nil {
			t.Fatalf("opened: %+v", s)
		}
	})
}
