package hook_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker/hook"
)

func secret(t testing.TB, s string) hook.Secret {
	t.Helper()
	parsed, err := hook.ParseSecret(s)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

var (
	one = "whsec_" + base64.StdEncoding.EncodeToString([]byte("the first secret of this test"))
	two = "whsec_" + base64.StdEncoding.EncodeToString([]byte("the second secret of this test!"))
	now = time.Unix(1_795_000_000, 0)
)

// TestVector: the signature of a message that was made by hand, with openssl.
func TestVector(t *testing.T) {
	h := hook.Sign("evt_4711", now, []byte(`{"type":"project.settled"}`), []hook.Secret{secret(t, one), secret(t, two)})
	const want = "v1,LwSjUO2b3Yw07GTKnQ2/cYpEskNmrelhFw9GRe+SGnQ= v1,3ehFJMN3EqYzrutk7uzRbFUNkwi9AnLa8mtb5SReWIg="
	if got := h.Get(hook.HeaderSignature); got != want || h.Get("webhook-id") != "evt_4711" || h.Get("webhook-timestamp") != "1795000000" {
		t.Errorf("%v\nwant %s", h, want)
	}
}

// TestOpenSSL lets another implementation of HMAC sign.
func TestOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if strings.Contains(os.Getenv("REQUIRE"), "openssl") {
			t.Fatal(err)
		}
		t.Skip("no openssl, set REQUIRE=openssl to make this a failure")
	}
	key := bytes.Repeat([]byte{0, 255, 'k', 10}, 10)
	body := []byte("{\"name\":\"ü\"}\n\x00")
	cmd := exec.CommandContext(t.Context(), openssl, "dgst", "-sha256", "-mac", "HMAC", "-macopt", fmt.Sprintf("hexkey:%x", key), "-binary")
	cmd.Stdin = bytes.NewReader(append([]byte("evt_1.1795000000."), body...))
	sum, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	h := hook.Sign("evt_1", now, body, []hook.Secret{secret(t, "whsec_"+base64.StdEncoding.EncodeToString(key))})
	if got, want := h.Get(hook.HeaderSignature), "v1,"+base64.StdEncoding.EncodeToString(sum); got != want {
		t.Errorf("%s, openssl says %s", got, want)
	}
}

func TestVerify(t *testing.T) {
	body := []byte(`{"type":"image.ready"}`)
	both := []hook.Secret{secret(t, one), secret(t, two)}
	with := func(change func(http.Header)) http.Header {
		h := hook.Sign("evt_1", now, body, both[:1])
		change(h)
		return h
	}
	as := func(name, value string) func(http.Header) {
		return func(h http.Header) { h.Set(name, value) }
	}
	good := with(func(http.Header) {})
	for name, c := range map[string]struct {
		header  http.Header
		body    string
		at      time.Time
		secrets []hook.Secret
		want    error
	}{
		"as it was sent":              {good, string(body), now, both[:1], nil},
		"a receiver with two secrets": {good, string(body), now, []hook.Secret{both[1], both[0]}, nil},
		"a sender with two secrets":   {hook.Sign("evt_1", now, body, both), string(body), now, both[1:], nil},
		"another version before it":   {with(as(hook.HeaderSignature, "v1a,AAAA v2,x "+good.Get(hook.HeaderSignature))), string(body), now, both[:1], nil},
		"five minutes late":           {good, string(body), now.Add(5 * time.Minute), both[:1], nil},
		"five minutes early":          {good, string(body), now.Add(-5 * time.Minute), both[:1], nil},

		"later":               {good, string(body), now.Add(5*time.Minute + time.Second), both[:1], hook.ErrTime},
		"earlier":             {good, string(body), now.Add(-5*time.Minute - time.Second), both[:1], hook.ErrTime},
		"another secret":      {good, string(body), now, both[1:], hook.ErrSignature},
		"no secret":           {good, string(body), now, nil, hook.ErrSignature},
		"a secret of nothing": {good, string(body), now, []hook.Secret{{}}, hook.ErrSignature},
		"another body":        {good, string(body) + " ", now, both[:1], hook.ErrSignature},
		"another id":          {with(as(hook.HeaderID, "evt_2")), string(body), now, both[:1], hook.ErrSignature},
		"another time":        {with(as(hook.HeaderTimestamp, "1795000001")), string(body), now, both[:1], hook.ErrSignature},
		"no id":               {with(as(hook.HeaderID, "")), string(body), now, both[:1], hook.ErrHeaders},
		"no time":             {with(as(hook.HeaderTimestamp, "")), string(body), now, both[:1], hook.ErrHeaders},
		"a time in words":     {with(as(hook.HeaderTimestamp, "now")), string(body), now, both[:1], hook.ErrHeaders},
		"an endless time":     {with(as(hook.HeaderTimestamp, "99999999999999999999")), string(body), now, both[:1], hook.ErrHeaders},
		"the least time":      {with(as(hook.HeaderTimestamp, "-9223372036854775808")), string(body), now, both[:1], hook.ErrTime},
		"no signature":        {with(as(hook.HeaderSignature, "")), string(body), now, both[:1], hook.ErrSignature},
		"no version":          {with(as(hook.HeaderSignature, strings.TrimPrefix(good.Get(hook.HeaderSignature), "v1,"))), string(body), now, both[:1], hook.ErrSignature},
		"half a signature":    {with(as(hook.HeaderSignature, good.Get(hook.HeaderSignature)[:20])), string(body), now, both[:1], hook.ErrSignature},
	} {
		id, err := hook.Verify(c.header, []byte(c.body), c.at, c.secrets...)
		if !errors.Is(err, c.want) || (err == nil) != (id == "evt_1") {
			t.Errorf("%s: %q, %v; want %v", name, id, err, c.want)
		}
	}
}

func TestParseSecret(t *testing.T) {
	of := func(n int) string { return "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for s, ok := range map[string]bool{
		of(24): true, of(64): true, of(23): false, of(65): false, of(0): false, "whsec_": false, "": false,
		strings.TrimPrefix(of(32), "whsec_"): false, "WHSEC_" + of(32)[6:]: false, of(32) + "!": false, of(32) + " ": false,
	} {
		if _, err := hook.ParseSecret(s); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
	_, err := hook.ParseSecret("whsec_SECRETSECRET")
	for _, text := range []string{fmt.Sprint(secret(t, one)), fmt.Sprintf("%+v %#v %v", secret(t, one), secret(t, one), []hook.Secret{secret(t, one)}), fmt.Sprint(err)} {
		if strings.Contains(text, "first secret") || strings.Contains(text, "SECRETSECRET") || strings.Contains(text, one[6:]) {
			t.Errorf("it tells %s", text)
		}
	}
}

// FuzzVerify: nothing but what was signed is accepted.
func FuzzVerify(f *testing.F) {
	f.Add("evt_1", "1795000000", "v1,AAAA", []byte("{}"))
	f.Add("", "", "v1, v1,= v2", []byte(nil))
	key := secret(f, one)
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte) {
		h := http.Header{}
		h.Set(hook.HeaderID, id)
		h.Set(hook.HeaderTimestamp, timestamp)
		h.Set(hook.HeaderSignature, signature)
		if _, err := hook.Verify(h, body, now, key); err == nil {
			t.Fatalf("accepted without the secret: %q %q %q %q", id, timestamp, signature, body)
		}
		if strings.ContainsAny(id, ".") || id == "" {
			return
		}
		if got, err := hook.Verify(hook.Sign(id, now, body, []hook.Secret{key}), body, now, key); err != nil || got != id {
			t.Fatalf("its own message is refused: %q, %v", got, err)
		}
	})
}
