package events

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/uploadbroker/uploadbroker/broker"
)

// check finds what no body may bring about.
func check(t *testing.T, body []byte) Notice {
	t.Helper()
	n, err := Parse(body)
	if err != nil {
		if len(n.Arrived) > 0 || n.Subscription != nil || !utf8.ValidString(err.Error()) || len(err.Error()) > 1000 {
			t.Errorf("%+v, %v", n, err)
		}
		return n
	}
	if n.Sender == "" || len(n.Arrived) > maxObjects || n.LeftOut > 0 && len(n.Arrived) < maxObjects {
		t.Errorf("sender %q, %d objects, %d left out", n.Sender, len(n.Arrived), n.LeftOut)
	}
	if n.Subscription != nil && (len(n.Arrived) > 0 || n.Unsubscribed || n.Topic == "") {
		t.Errorf("a subscription with more: %+v", n)
	}
	seen := map[string]bool{}
	for _, o := range n.Arrived {
		// What Postgres does not hold as text never gets there.
		if o.Key == "" || seen[o.Key] || len(o.Key) > maxKeyBytes || !utf8.ValidString(o.Key) || strings.Contains(o.Key, "\x00") {
			t.Errorf("the key %q", o.Key)
		}
		if len(o.ETag) > maxETagBytes || strings.ContainsFunc(o.ETag, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("the ETag %q", o.ETag)
		}
		seen[o.Key] = true
	}
	return n
}

func FuzzParse(f *testing.F) {
	for name := range bodies {
		f.Add(readBody(f, name))
	}
	f.Add([]byte(strings.Repeat("[", 100)))
	f.Add([]byte("<Notification><Message>eyJldmVudHMiOltdfQ==</Message></Notification>"))
	f.Fuzz(func(t *testing.T, body []byte) { check(t, body) })
}

// FuzzKeys: S3's encoding of any keys gives these keys back, whole or not at all.
func FuzzKeys(f *testing.F) {
	f.Add(keyA, keyB, etag)
	f.Add("a b+c", "%2F%", `"`+etag+`"`)
	f.Add("照片/é.jpg", "\xff\x00", "é")
	f.Add(strings.Repeat("照", 342), "", strings.Repeat("e", 200))
	f.Fuzz(func(t *testing.T, first, second, etag string) {
		type object struct {
			Key  string `json:"key"`
			ETag string `json:"eTag"`
		}
		type s3 struct {
			Object object `json:"object"`
		}
		type record struct {
			EventName string `json:"eventName"`
			S3        s3     `json:"s3"`
		}
		var want []broker.Arrived
		var records []record
		for _, key := range []string{first, second} {
			records = append(records, record{"ObjectCreated:Put", s3{object{url.QueryEscape(key), "e"}}})
			told := broker.Arrived{Key: key, ETag: "e"}
			if key != "" && utf8.ValidString(key) && !strings.Contains(key, "\x00") && len(key) <= 1024 && !slices.Contains(want, told) {
				want = append(want, told)
			}
		}
		body, err := json.Marshal(map[string]any{"Records": records})
		if err != nil {
			t.Fatal(err)
		}
		if n := check(t, body); !slices.Equal(n.Arrived, want) {
			t.Errorf("%q and %q: %+v", first, second, n.Arrived)
		}
		envelope, err := json.Marshal(map[string]string{"Type": "Notification", "TopicArn": topic, "Message": string(body)})
		if err != nil {
			t.Fatal(err)
		}
		if n := check(t, envelope); !slices.Equal(n.Arrived, want) || n.Sender != SenderSNS {
			t.Errorf("%q and %q by SNS: %+v", first, second, n.Arrived)
		}
		form := url.Values{"object": {first}, "etag": {etag}}.Encode()
		if n := check(t, []byte(form)); len(n.Arrived) > 0 && n.Arrived[0].Key != first {
			t.Errorf("%q by a form: %+v", first, n.Arrived)
		}
	})
}
