package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage/presign"
)

// Bounds of one probe.
const (
	probeBytes   = 64
	probeTTL     = 15 * time.Minute // leaves room for a clock that is off
	probeTimeout = 30 * time.Second // of the clean-up
	maxErrorBody = 64 << 10
)

// answerError is an answer to a presigned request that is no success. Code knows
// it. It holds no URL, which would be a right.
type answerError struct {
	what   string
	status int
	code   string // of S3's error document, "" where there is none
}

func (e *answerError) Error() string {
	text := fmt.Sprintf("the probe's %s was answered with status %d", e.what, e.status)
	if e.code != "" {
		text += " (" + e.code + ")"
	}
	return text
}

// misuse is one wrong use of a grant.
type misuse struct {
	name    string
	body    []byte
	headers map[string]string
}

// ProbeBinding uses grants as their holders could, through the endpoint that the
// driver itself uses. Right bytes must be taken, for a bucket that refuses
// everything proves nothing. Then other bytes of the same length are sent under
// the declared sha1, without it, and under their own; then a longer body; and at
// last a header that would put a copy of any other object there. All are refused
// where the bucket compares the checksum, verifies that the signature covers it,
// holds the body to the signed length, and heeds no x-amz-* header that was not
// signed.
func (b *Bucket) ProbeBinding(ctx context.Context, key string) (bound bool, err error) {
	right := make([]byte, probeBytes)
	rand.Read(right) // never fails (Go 1.24 and later)
	other := bytes.Clone(right)
	other[probeBytes-1] ^= 1
	bind := broker.Binding{SizeBytes: probeBytes, SHA1: sha1.Sum(right), ContentType: "application/octet-stream"}

	var written []string
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
		defer cancel()
		for _, key := range written {
			if left := b.Delete(ctx, key); left != nil {
				bound, err = false, errors.Join(err, fmt.Errorf("delete what the probe wrote: %w", left))
			}
		}
	}()
	send := func(key string, use misuse) error {
		// Noted first: what was sent may be stored, whatever is answered.
		written = append(written, key)
		return b.sendPut(ctx, key, bind, use)
	}

	declared := map[string]string{"content-type": bind.ContentType, "x-amz-checksum-sha1": bind.SHA1.Base64()}
	if err := send(key+"/right", misuse{"right use", right, declared}); err != nil {
		return false, err
	}
	obj, err := b.Stat(ctx, key+"/right")
	if err != nil {
		return false, fmt.Errorf("look at what the probe put: %w", err)
	}
	if obj.SizeBytes != probeBytes {
		return false, fmt.Errorf("the probe put %d bytes, and %d are stored", probeBytes, obj.SizeBytes)
	}

	bound = true
	for i, use := range []misuse{
		{"other bytes", other, declared},
		{"other bytes without their checksum", other, map[string]string{"content-type": bind.ContentType}},
		{"other bytes with their own checksum", other, map[string]string{
			"content-type": bind.ContentType, "x-amz-checksum-sha1": broker.SHA1(sha1.Sum(other)).Base64(),
		}},
		{"longer body", append(bytes.Clone(right), '.'), declared},
		{"copy of another object", other, map[string]string{
			"content-type": bind.ContentType, "x-amz-checksum-sha1": bind.SHA1.Base64(),
			"x-amz-copy-source": string(presign.AppendPath([]byte("/"+b.name+"/"), key+"/right")),
		}},
	} {
		key := fmt.Sprintf("%s/misuse-%d", key, i+1)
		sent := send(key, use)
		var refused *answerError
		if sent != nil && (!errors.As(sent, &refused) || !isRefusal(refused.status)) {
			return false, sent
		}
		// What the answer says counts for less than what is stored.
		switch _, err := b.Stat(ctx, key); {
		case err == nil, sent == nil:
			bound = false
		case b.Code(err) != broker.CodeNotFound:
			return false, fmt.Errorf("look whether %s was stored: %w", use.name, err)
		}
	}
	return bound, nil
}

// isRefusal tells a no to this request from a no to all of them at this time.
func isRefusal(status int) bool {
	return status/100 == 4 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests
}

// sendPut uses a grant for the broker's own endpoint.
func (b *Bucket) sendPut(ctx context.Context, key string, bind broker.Binding, use misuse) error {
	signed, _, err := b.own.put(ctx, key, bind, probeTTL)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, signed, bytes.NewReader(use.body))
	if err != nil {
		return fmt.Errorf("the probe's request: %w", withoutURL(err))
	}
	for name, value := range use.headers {
		req.Header.Set(name, value)
	}
	resp, err := b.http.Do(req)
	if err != nil {
		return fmt.Errorf("the probe's %s: %w", use.name, withoutURL(err))
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the probe's %s: %w", use.name, err)
	}
	var document struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
	}
	_ = xml.Unmarshal(data, &document) // what is no error document has no code
	return &answerError{what: use.name, status: resp.StatusCode, code: document.Code}
}

// withoutURL takes the signed URL out of an HTTP client's error.
func withoutURL(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}
