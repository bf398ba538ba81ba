package events

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
)

const (
	pid    = "01JDB4V8YQ0G7T3M6N5R2K9XWZ"
	keyA   = pid + "/0beec7b5ea3f0fdbc95d0dd47f3c5bc275da8a33.jpg"
	keyB   = pid + "/62cdb7020ff920e5aa642c3d4066950dd1f01f4d-2.jpg"
	etag   = "d41d8cd98f00b204e9800998ecf8427e"
	etagB  = "9a0364b9e99bb480dd25e1f0284c8555-12"
	ossTag = "688A7BF4F233DC9C88A80BF985AB7329"
	topic  = "arn:aws:sns:ap-east-1:123456789012:photo-events"
)

// bodies are the files of testdata and what each says.
var bodies = map[string]struct {
	sender  Sender
	arrived []broker.Arrived
}{
	"s3.json":                      {SenderS3, []broker.Arrived{{Key: keyA, ETag: etag}, {Key: keyB, ETag: etagB}}},
	"s3-key.json":                  {SenderS3, []broker.Arrived{{Key: "other/red flower+1 äö.jpg", ETag: etag}}},
	"s3-test.json":                 {SenderS3, nil},
	"s3-removed.json":              {SenderS3, nil},
	"minio.json":                   {SenderS3, []broker.Arrived{{Key: keyA, ETag: etag}}},
	"minio-bare.json":              {SenderS3, []broker.Arrived{{Key: keyA}}},
	"versitygw.json":               {SenderS3, []broker.Arrived{{Key: keyA, ETag: etag}}},
	"sns.json":                     {SenderSNS, []broker.Arrived{{Key: keyA, ETag: etag}, {Key: keyB, ETag: etagB}}},
	"sns-test.json":                {SenderSNS, nil},
	"sns-eventbridge.json":         {SenderSNS, []broker.Arrived{{Key: "other/red flower+1%2F.jpg", ETag: etag}}},
	"sns-subscribe.json":           {SenderSNS, nil},
	"sns-unsubscribe.json":         {SenderSNS, nil},
	"eventbridge.json":             {SenderEventBridge, []broker.Arrived{{Key: "other/red flower+1%2F.jpg", ETag: etag}}},
	"eventbridge-deleted.json":     {SenderEventBridge, nil},
	"mns.json":                     {SenderMNS, []broker.Arrived{{Key: keyA, ETag: ossTag}, {Key: keyB, ETag: ossTag + "-3"}}},
	"mns.base64":                   {SenderMNS, []broker.Arrived{{Key: keyA, ETag: ossTag}, {Key: keyB, ETag: ossTag + "-3"}}},
	"mns-push.json":                {SenderMNS, []broker.Arrived{{Key: keyA, ETag: ossTag}, {Key: keyB, ETag: ossTag + "-3"}}},
	"mns-push.xml":                 {SenderMNS, []broker.Arrived{{Key: keyA, ETag: ossTag}, {Key: keyB, ETag: ossTag + "-3"}}},
	"mns-push-plain.xml":           {SenderMNS, []broker.Arrived{{Key: keyA, ETag: ossTag}, {Key: keyB, ETag: ossTag + "-3"}}},
	"aliyun-eventbridge.json":      {SenderAliyunEventBridge, []broker.Arrived{{Key: keyA, ETag: ossTag}}},
	"aliyun-eventbridge-list.json": {SenderAliyunEventBridge, []broker.Arrived{{Key: keyA, ETag: ossTag}, {Key: keyB, ETag: ossTag}}},
	"aliyun-eventbridge-data.json": {SenderAliyunEventBridge, []broker.Arrived{{Key: keyA, ETag: ossTag}}},
	"callback.form":                {SenderOSSCallback, []broker.Arrived{{Key: keyA, ETag: ossTag}}},
	"callback-filename.form":       {SenderOSSCallback, []broker.Arrived{{Key: keyA}}},
	"callback.json":                {SenderOSSCallback, []broker.Arrived{{Key: keyA, ETag: ossTag}}},
}

func readBody(t testing.TB, name string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// TestBodies: every form is read as what it says, and every file is in the table.
func TestBodies(t *testing.T) {
	files, err := filepath.Glob("testdata/*.*")
	if err != nil || len(files) != len(bodies) {
		t.Errorf("%d files, %d in the table: %v", len(files), len(bodies), err)
	}
	for name, want := range bodies {
		n, err := Parse(readBody(t, name))
		if err != nil || n.Sender != want.sender || !slices.Equal(n.Arrived, want.arrived) || n.LeftOut != 0 {
			t.Errorf("%s: %+v, %v", name, n, err)
		}
		if isSNS := strings.HasPrefix(name, "sns"); isSNS != (n.Topic == topic) || !isSNS && n.Topic != "" {
			t.Errorf("%s: the topic is %q", name, n.Topic)
		}
		if (name == "sns-subscribe.json") != (n.Subscription != nil) || (name == "sns-unsubscribe.json") != n.Unsubscribed {
			t.Errorf("%s: %+v", name, n)
		}
	}
}

// record is a notification of S3 that tells of one object.
func record(event, key, etag string) string {
	return fmt.Sprintf(`{"Records":[{"eventName":%q,"s3":{"object":{"key":%q,"eTag":%q}}}]}`, event, key, etag)
}

// inSNS puts a message into an envelope of SNS.
func inSNS(message string) string {
	return fmt.Sprintf(`{"Type":"Notification","TopicArn":%q,"Message":%s}`, topic, strconv.Quote(message))
}

// TestNames: which events tell that something was written.
func TestNames(t *testing.T) {
	for name, want := range map[string]bool{
		"ObjectCreated:Put": true, "ObjectCreated:Post": true, "ObjectCreated:Copy": true, "ObjectCreated:CompleteMultipartUpload": true,
		"s3:ObjectCreated:Put": true, "s3:ObjectCreated:PutTagging": true, "oss:ObjectCreated:AppendObject": true, "ObjectCreated:PostObject": true,
		"ObjectCreated:UploadPart": false, "ObjectCreated:UploadPartCopy": false, "ObjectCreated:InitiateMultipartUpload": false,
		"ObjectRemoved:Delete": false, "s3:ObjectRemoved:Delete": false, "s3:ObjectAccessed:Get": false, "ObjectCreated:": false, "ObjectCreated": false,
		"": false, "ReplicationObjectCreated:Put": false, "objectcreated:put": false,
	} {
		n, err := Parse([]byte(record(name, keyA, etag)))
		if err != nil || (len(n.Arrived) == 1) != want {
			t.Errorf("%s: %+v, %v", name, n, err)
		}
	}
}

// TestKeysAndETags: what can't be in a bucket is left out, what can't be an ETag
// counts as not told.
func TestKeysAndETags(t *testing.T) {
	for encoded, want := range map[string]string{
		"a%2Fb": "a/b", "a+b": "a b", "a%2Bb": "a+b", "%E7%85%A7": "照", "100%": "100%", "照": "照",
		"": "", "%00": "", "a%00b": "", "%FF": "", "a%C3": "",
		strings.Repeat("k", 1024): strings.Repeat("k", 1024), strings.Repeat("k", 1025): "",
	} {
		n, err := Parse([]byte(record("ObjectCreated:Put", encoded, "e")))
		got := ""
		if len(n.Arrived) == 1 {
			got = n.Arrived[0].Key
		}
		if err != nil || got != want || len(n.Arrived) > 1 {
			t.Errorf("%.20q: %.20q, %v", encoded, got, err)
		}
	}
	for told, want := range map[string]string{
		etag: etag, `"` + etag + `"`: etag, etagB: etagB, "": "", `""`: "", "a b": "", "a\x00": "", "ä": "", strings.Repeat("e", 129): "",
	} {
		body, err := json.Marshal(map[string]string{"object": keyA, "etag": told})
		if err != nil {
			t.Fatal(err)
		}
		n, err := Parse(body)
		if err != nil || len(n.Arrived) != 1 || n.Arrived[0].ETag != want {
			t.Errorf("%q: %+v, %v", told, n, err)
		}
	}
}

// TestRepeated: a key is told once, without an ETag when two were.
func TestRepeated(t *testing.T) {
	one := func(key, etag string) string {
		return fmt.Sprintf(`{"eventName":"ObjectCreated:Put","s3":{"object":{"key":%q,"eTag":%q}}}`, key, etag)
	}
	n, err := Parse([]byte(`{"Records":[` + strings.Join([]string{one("a", "1"), one("b", "2"), one("a", "1"), one("b", "3"), one("b", "3")}, ",") + `]}`))
	if err != nil || !slices.Equal(n.Arrived, []broker.Arrived{{Key: "a", ETag: "1"}, {Key: "b"}}) {
		t.Errorf("%+v, %v", n, err)
	}
}

// TestTooManyObjects: the first thousand are taken.
func TestTooManyObjects(t *testing.T) {
	var events []string
	for i := range maxObjects + 7 {
		events = append(events, fmt.Sprintf(`{"eventName":"ObjectCreated:PutObject","oss":{"object":{"key":"k%d","eTag":"e"}}}`, i))
	}
	events = append(events, events[0]) // known already
	n, err := Parse([]byte(`{"events":[` + strings.Join(events, ",") + `]}`))
	if err != nil || len(n.Arrived) != maxObjects || n.Arrived[maxObjects-1].Key != "k999" || n.LeftOut != 7 {
		t.Errorf("%d objects, %d left out, %v", len(n.Arrived), n.LeftOut, err)
	}
}

// TestNesting: forms lie in others, up to three deep.
func TestNesting(t *testing.T) {
	inMNS := func(s string) string { return `{"TopicName":"t","Message":` + strconv.Quote(s) + `}` }
	inXML := func(s string) string {
		return "<Notification><Message>" + strings.NewReplacer("<", "&lt;", "&", "&amp;").Replace(s) + "</Message></Notification>"
	}
	in64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	inList := func(s string) string { return "[" + s + "]" }
	for name, wrap := range map[string]func(string) string{"SNS": inSNS, "MNS": inMNS, "XML": inXML, "list": inList} {
		body := record("ObjectCreated:Put", "a", "e")
		for depth := range 6 {
			n, err := Parse([]byte(body))
			if depth <= maxNesting && (err != nil || len(n.Arrived) != 1) {
				t.Errorf("%s, %d deep: %+v, %v", name, depth, n, err)
			}
			if depth > maxNesting && (err == nil || !strings.Contains(err.Error(), "3 envelopes") || len(n.Arrived) != 0) {
				t.Errorf("%s, %d deep: %+v, %v", name, depth, n, err)
			}
			body = wrap(body)
		}
	}
	for body, ok := range map[string]bool{
		in64(inSNS(in64(record("ObjectCreated:Put", "a", "e")))): true, in64(inSNS(in64(inList(record("ObjectCreated:Put", "a", "e"))))): false,
		in64(in64(record("ObjectCreated:Put", "a", "e"))): false, // nobody does so
	} {
		if n, err := Parse([]byte(body)); (err == nil) != ok || ok && len(n.Arrived) != 1 {
			t.Errorf("%s: %+v, %v", body, n, err)
		}
	}
	if n, err := Parse([]byte(inMNS(inList(in64(""))))); err == nil {
		t.Errorf("%+v", n)
	}
	deep := strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)
	if n, err := Parse([]byte(deep)); err == nil {
		t.Errorf("%+v", n)
	}
	// The outermost form is that of the sender.
	if n, err := Parse([]byte(inMNS(in64(inSNS(record("ObjectCreated:Put", "a", "e")))))); err != nil || n.Sender != SenderMNS || n.Topic != topic {
		t.Errorf("%+v, %v", n, err)
	}
}

// TestRefused: what is no event is refused with a reason that helps.
func TestRefused(t *testing.T) {
	const unknown = "none of the events"
	subscribe := string(readBody(t, "sns-subscribe.json"))
	for body, want := range map[string]string{
		"": "empty", " \n": "empty", "hello": unknown, "a=b&c=d": unknown, "object=": unknown, "objects=": unknown, "%zz": unknown, "null": unknown,
		"{}": unknown, "[]": unknown, "[{}]": unknown, `"a"`: unknown, "{": "not the JSON", "[1": "not the JSON", `{"a":1}x`: "not the JSON",
		`{"key":1}`: unknown, `{"Records":{}}`: "Records", `{"Records":[{"s3":5}]}`: "s3 can't be number",
		`{"Records":[{"eventName":"ObjectCreated:Put","s3":{"object":{"key":7}}}]}`: "s3.object.key can't be number",
		`{"events":5}`: "events", `{"events":[{"eventName":"ObjectCreated:PutObject"}]}`: "oss",
		`{"detail-type":"Object Created","source":"mine"}`:                     unknown,
		`{"detail-type":"Object Created","source":"aws.s3"}`:                   "detail",
		`{"specversion":"1.0","type":"ping"}`:                                  unknown,
		`{"specversion":"1.0","type":"oss:ObjectCreated:PutObject"}`:           "data",
		`{"specversion":"1.0","type":"oss:ObjectCreated:PutObject","data":[]}`: "data",
		`{"Type":"Order","TopicArn":"arn:x"}`:                                  `"Order" is not taken`,
		inSNS("Hello world!"):                                                  unknown, inSNS(""): "empty",
		inSNS(subscribe): "can't lie in another", "[" + subscribe + "]": "can't lie in another",
		"[" + inSNS(record("", "", "")) + "," + strings.Replace(inSNS(record("", "", "")), "photo", "other", 1) + "]": "several SNS topics",
		"<a/>": unknown, "<Notification></Notification>": "no Notification", "<Notification><Message>a": "can't be read", "<": "no Notification",
		"<Notification><a><Message>object=a</Message></a></Notification>": "no Notification",
	} {
		n, err := Parse([]byte(body))
		if err == nil || !strings.Contains(err.Error(), want) || n.Sender != "" || n.Arrived != nil {
			t.Errorf("%.60q: %+v, %v", body, n, err)
		}
	}
}

// TestExactNames: SNS's Type is not the type of a CloudEvent.
func TestExactNames(t *testing.T) {
	body := `{"type":"SubscriptionConfirmation","topicarn":"arn:x","specversion":"1.0","records":[],"object":"a"}`
	if n, err := Parse([]byte(body)); err == nil {
		t.Errorf("%+v", n)
	}
}

// TestForms: a form's fields are decoded once.
func TestForms(t *testing.T) {
	for _, key := range []string{"a/b c+d%.jpg", "照/片", "x=1&y=2"} {
		n, err := Parse([]byte(url.Values{"bucket": {"b"}, "object": {key}, "etag": {`"e"`}}.Encode()))
		if err != nil || !slices.Equal(n.Arrived, []broker.Arrived{{Key: key, ETag: "e"}}) {
			t.Errorf("%q: %+v, %v", key, n, err)
		}
	}
}
