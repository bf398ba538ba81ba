package events

import (
	"encoding/json"
	"net/url"
	"strings"
)

// s3Record is what is read of a record of S3
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html).
type s3Record struct {
	EventName string `json:"eventName"`
	S3        struct {
		Object struct {
			Key  string `json:"key"` // form-encoded
			ETag string `json:"eTag"`
		} `json:"object"`
	} `json:"s3"`
}

// s3 reads a notification of S3, or of what speaks like it. MinIO says the key a
// second time, with the bucket before it and not encoded.
func (p *parser) s3(d document) error {
	p.from(SenderS3)
	if !d.has("Records") { // a test event, or MinIO without records
		if _, key, ok := strings.Cut(d.text("Key"), "/"); ok && created(d.text("EventName")) {
			p.add(key, "")
		}
		return nil
	}
	var records []s3Record
	if err := json.Unmarshal(d["Records"], &records); err != nil {
		return malformed("Records", err)
	}
	for _, r := range records {
		if !created(r.EventName) {
			continue
		}
		key, err := url.QueryUnescape(r.S3.Object.Key)
		if err != nil {
			key = r.S3.Object.Key // some speak like S3, but don't encode
		}
		p.add(key, r.S3.Object.ETag)
	}
	return nil
}

// eventBridge reads an event of S3 by AWS EventBridge, where keys are not encoded
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html).
func (p *parser) eventBridge(d document) error {
	if d.text("source") != "aws.s3" {
		return errUnknown()
	}
	p.from(SenderEventBridge)
	if d.text("detail-type") != "Object Created" {
		return nil
	}
	var detail struct {
		Object struct {
			Key  string `json:"key"`
			ETag string `json:"etag"`
		} `json:"object"`
	}
	if err := json.Unmarshal(d["detail"], &detail); err != nil {
		return malformed("detail", err)
	}
	p.add(detail.Object.Key, detail.Object.ETag)
	return nil
}

// cloudEvent reads an event of OSS by Aliyun EventBridge
// (https://www.alibabacloud.com/help/en/eventbridge/user-guide/oss-events). Its
// data is the event, or the part of it that is called oss.
func (p *parser) cloudEvent(d document) error {
	kind := d.text("type")
	if !strings.HasPrefix(kind, "oss:") {
		return errUnknown()
	}
	p.from(SenderAliyunEventBridge)
	if !created(kind) {
		return nil
	}
	var data document
	if err := json.Unmarshal(d["data"], &data); err != nil {
		return malformed("data", err)
	}
	switch {
	case data.has("events"):
		return p.ossEvents(data["events"])
	case data.has("oss"):
		return p.ossEvent(data, kind)
	}
	return p.ossObject(d["data"])
}

// ossEvents reads a list of events of OSS
// (https://www.alibabacloud.com/help/en/oss/user-guide/configure-event-notification-rules).
func (p *parser) ossEvents(list json.RawMessage) error {
	var events []document
	if err := json.Unmarshal(list, &events); err != nil {
		return malformed("events", err)
	}
	for _, e := range events {
		if err := p.ossEvent(e, ""); err != nil {
			return err
		}
	}
	return nil
}

// ossEvent reads an event of OSS. Where it does not say what happened, its
// envelope does.
func (p *parser) ossEvent(e document, kind string) error {
	if name := e.text("eventName"); name != "" {
		kind = name
	}
	if !created(kind) {
		return nil
	}
	return p.ossObject(e["oss"])
}

// ossObject reads the part of an event of OSS that tells of the object. Its key is
// not encoded.
func (p *parser) ossObject(part json.RawMessage) error {
	var oss struct {
		Object struct {
			Key  string `json:"key"`
			ETag string `json:"eTag"`
		} `json:"object"`
	}
	if err := json.Unmarshal(part, &oss); err != nil {
		return malformed("oss", err)
	}
	p.add(oss.Object.Key, oss.Object.ETag)
	return nil
}

// created reports whether an event of this name tells that an object is there
// whole. Some speak of s3:ObjectCreated or oss:ObjectCreated.
func created(name string) bool {
	how, ok := strings.CutPrefix(strings.TrimPrefix(strings.TrimPrefix(name, "s3:"), "oss:"), "ObjectCreated:")
	switch how {
	case "", "InitiateMultipartUpload", "UploadPart", "UploadPartCopy":
		return false
	}
	return ok
}
