package storage

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
)

// sdkError is an error as the clouds' SDKs give it.
type sdkError string

func (e sdkError) Error() string     { return "the cloud says " + string(e) }
func (e sdkError) ErrorCode() string { return string(e) }

// Whoever sends a file through the broker is told a full bucket from one that is away.
func TestReceive(t *testing.T) {
	for _, c := range []struct {
		err  error
		want broker.Code
	}{
		{nil, ""},
		{fmt.Errorf("put: %w", sdkError("InsufficientStorage")), broker.CodeInsufficientStorage},
		{sdkError("XMinioStorageFull"), broker.CodeInsufficientStorage},
		{sdkError("AccessDenied"), broker.CodeDenied},
		{errors.New("x"), broker.CodeDenied}, // as the fake calls all
		{broker.Errorf(broker.CodeTooLarge, "too large"), broker.CodeTooLarge},
	} {
		b := newTest(t, Info{Symbol: "Here", Cloud: broker.CloudS3}, &fake{err: c.err, obj: Object{ETag: "e1", SizeBytes: 4}})
		seen, err := b.Receive(t.Context(), "p/f", "text/plain", 4, strings.NewReader("body"))
		wantCode(t, err, c.want)
		if err == nil && (seen.ETag != "e1" || seen.SizeBytes != 4) {
			t.Errorf("seen is %+v", seen)
		}
	}
}
