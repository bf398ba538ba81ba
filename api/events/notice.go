package events

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/uploadbroker/uploadbroker/broker"
)

// Sender is who sends bodies of a form. It decides the answer.
type Sender string

// The senders. What speaks the form of S3 answers to its name.
const (
	SenderS3                Sender = "s3"
	SenderSNS               Sender = "sns"
	SenderEventBridge       Sender = "eventbridge"
	SenderMNS               Sender = "mns"
	SenderAliyunEventBridge Sender = "aliyun-eventbridge"
	SenderOSSCallback       Sender = "oss-callback"
)

// Notice is what a body says.
type Notice struct {
	Sender       Sender           // of the outermost form
	Arrived      []broker.Arrived // objects that were written; each key once
	LeftOut      int              // how often a further object was told
	Topic        string           // the ARN in an envelope of SNS; "" without one
	Subscription *Subscription    // SNS asks whether it may send
	Unsubscribed bool             // SNS will send no more
}

// Subscription is SNS's question whether it may send.
type Subscription struct {
	URL string // that confirms it, as the body has it
}

const (
	// maxObjects is how many objects a body may tell of. No sender comes near, and
	// the rest is left out rather than refused: a refused body would be sent again
	// and again as it is (MinIO holds all later events back behind it), while the
	// look that the first ones cause finds the others of their project, too.
	maxObjects = 1000
	// maxNesting is how deep a form may lie within others: S3's in SNS's is one.
	maxNesting = 3
	// The bounds of S3 and OSS for keys; ETags have 32 to 40 characters.
	maxKeyBytes  = 1024
	maxETagBytes = 128
)

// Parse reads the body of an event. Its type is not asked for: SNS calls JSON
// text/plain, and curl calls everything a form. An error says what is wrong to
// the sender. Events that tell of nothing written are taken and leave Arrived
// empty.
func Parse(body []byte) (Notice, error) {
	p := parser{at: map[string]int{}}
	if err := p.body(body, 0); err != nil {
		return Notice{}, err
	}
	return p.notice, nil
}

// parser collects what a body and those within it say.
type parser struct {
	notice Notice
	at     map[string]int // where in notice.Arrived a key is
}

func errUnknown() error {
	return errors.New("the body is none of the events that are taken here: notifications of S3 or MinIO (Records), as they are or in a message of SNS; " +
		"AWS EventBridge (Object Created); events of OSS by MNS (events) or Aliyun EventBridge (type oss:…); callbacks of OSS (bucket, object)")
}

// from names the sender, unless an envelope has.
func (p *parser) from(s Sender) {
	if p.notice.Sender == "" {
		p.notice.Sender = s
	}
}

// body reads a document that lies so deep in others.
func (p *parser) body(body []byte, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("the event lies in more than %d envelopes", maxNesting)
	}
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return errors.New("the body is empty")
	}
	switch body[0] {
	case '{':
		var d document
		if err := json.Unmarshal(body, &d); err != nil {
			return malformed("the body", err)
		}
		return p.document(d, depth)
	case '[':
		var list []json.RawMessage
		if err := json.Unmarshal(body, &list); err != nil {
			return malformed("the body", err)
		}
		if len(list) == 0 {
			return errUnknown()
		}
		for _, one := range list {
			if err := p.body(one, depth+1); err != nil {
				return err
			}
		}
		return nil
	case '<':
		return p.xmlEnvelope(body, depth)
	}
	if inner, ok := fromBase64(body); ok { // what queues of MNS hold
		p.from(SenderMNS)
		return p.body(inner, depth+1)
	}
	return p.form(body)
}

// fromBase64 decodes a document. Forms may look like base64, so what it decodes
// to must look like a document.
func fromBase64(body []byte) ([]byte, bool) {
	inner, err := base64.StdEncoding.AppendDecode(nil, body)
	inner = bytes.TrimSpace(inner)
	return inner, err == nil && len(inner) > 0 && bytes.IndexByte([]byte("{[<"), inner[0]) >= 0
}

// document reads a JSON object of whatever form.
func (p *parser) document(d document, depth int) error {
	switch {
	case d.text("Type") != "" && d.text("TopicArn") != "":
		return p.sns(d, depth)
	case d.has("Records"), d.text("Event") == "s3:TestEvent", d.text("EventName") != "" && d.text("Key") != "":
		return p.s3(d)
	case d.has("detail-type"):
		return p.eventBridge(d)
	case d.text("Message") != "" && (d.has("TopicName") || d.has("TopicOwner") || d.has("SubscriptionName")):
		p.from(SenderMNS)
		return p.body([]byte(d.text("Message")), depth+1)
	case d.has("events"):
		p.from(SenderMNS)
		return p.ossEvents(d["events"])
	case d.has("specversion"):
		return p.cloudEvent(d)
	case d.has("oss"): // of CloudEvents the data alone
		p.from(SenderAliyunEventBridge)
		return p.ossEvent(d, "")
	}
	return p.callback(d.text)
}

// sns reads an envelope of SNS
// (https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html).
func (p *parser) sns(d document, depth int) error {
	p.from(SenderSNS)
	topic := d.text("TopicArn")
	if p.notice.Topic != "" && p.notice.Topic != topic {
		return errors.New("the body has messages of several SNS topics")
	}
	p.notice.Topic = topic
	kind := d.text("Type")
	switch {
	case kind == "Notification":
		return p.body([]byte(d.text("Message")), depth+1)
	case depth > 0: // SNS asks by itself, and nobody in its name
		return fmt.Errorf("an SNS message of the type %.50q can't lie in another message", kind)
	case kind == "SubscriptionConfirmation":
		p.notice.Subscription = &Subscription{URL: d.text("SubscribeURL")}
		return nil
	case kind == "UnsubscribeConfirmation":
		p.notice.Unsubscribed = true
		return nil
	}
	return fmt.Errorf("an SNS message of the type %.50q is not taken", kind)
}

// xmlEnvelope reads the Notification that MNS pushes as XML by default. It stops
// behind the message: what follows is not needed.
func (p *parser) xmlEnvelope(body []byte, depth int) error {
	in := xml.NewDecoder(bytes.NewReader(body))
	within := 0
	for {
		token, err := in.Token()
		if err != nil {
			return errors.New("the XML has no Notification with a Message, as MNS sends it")
		}
		switch t := token.(type) {
		case xml.EndElement:
			within--
		case xml.StartElement:
			switch {
			case within == 0 && t.Name.Local != "Notification":
				return errUnknown()
			case within == 1 && t.Name.Local == "Message":
				var message string
				if err := in.DecodeElement(&message, &t); err != nil {
					return errors.New("the Message in the XML can't be read")
				}
				p.from(SenderMNS)
				return p.body([]byte(message), depth+1)
			}
			within++
		}
	}
}

// form reads the callback of OSS in its usual form.
func (p *parser) form(body []byte) error {
	fields, err := url.ParseQuery(string(body))
	if err != nil {
		return errUnknown()
	}
	return p.callback(fields.Get)
}

// callback reads a callback of OSS. Whoever asks for one names its fields; these
// are the names of OSS's own examples.
func (p *parser) callback(field func(name string) string) error {
	for _, name := range []string{"object", "key", "filename"} {
		if key := field(name); key != "" {
			p.from(SenderOSSCallback)
			p.add(key, field("etag"))
			return nil
		}
	}
	return errUnknown()
}

// add takes an object that was written. A key that no bucket could hold is left
// out. Events come in any order: of a key that is told with two ETags, neither is
// believed.
func (p *parser) add(key, etag string) {
	if key == "" || len(key) > maxKeyBytes || !utf8.ValidString(key) || strings.ContainsRune(key, 0) {
		return
	}
	etag = strings.Trim(etag, `"`)
	if len(etag) > maxETagBytes || strings.ContainsFunc(etag, func(r rune) bool { return r <= ' ' || r > '~' }) {
		etag = ""
	}
	i, known := p.at[key]
	switch {
	case known:
		if p.notice.Arrived[i].ETag != etag {
			p.notice.Arrived[i].ETag = ""
		}
	case len(p.notice.Arrived) == maxObjects:
		p.notice.LeftOut++
	default:
		p.at[key] = len(p.notice.Arrived)
		p.notice.Arrived = append(p.notice.Arrived, broker.Arrived{Key: key, ETag: etag})
	}
}

// document is a JSON object whose names count exactly: those of some forms differ
// in their case alone.
type document map[string]json.RawMessage

func (d document) has(name string) bool {
	value, ok := d[name]
	return ok && !bytes.Equal(value, []byte("null"))
}

// text is a string of the document; "" when there is none.
func (d document) text(name string) string {
	var s string
	if json.Unmarshal(d[name], &s) != nil {
		return ""
	}
	return s
}

// malformed says in words of the sender what is wrong with a part.
func malformed(part string, err error) error {
	var misfit *json.UnmarshalTypeError
	if errors.As(err, &misfit) && misfit.Field != "" {
		return fmt.Errorf("%s does not fit: %s can't be %s", part, misfit.Field, misfit.Value)
	}
	return fmt.Errorf("%s is not the JSON that it should be", part)
}
