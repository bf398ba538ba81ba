package storage

import (
	"context"
	"io"
	"strings"

	"github.com/uploadbroker/uploadbroker/broker"
)

// Source reads one object as it was seen: every Open asks for the ETag of that
// sight, so that several reads never mix two versions. It satisfies the Source
// of package validate. It does not resume a read that breaks off; the worker does,
// by opening it again where that was.
type Source struct {
	b   *Bucket
	obj Object
}

// NewSource makes a Source of an object that Stat or List gave.
func NewSource(b *Bucket, seen Object) *Source { return &Source{b: b, obj: seen} }

// Size is the object's size in bytes, as it was seen.
func (s *Source) Size() int64 { return s.obj.SizeBytes }

// Open reads from off to the end; the caller closes it. CodeChanged when the
// object is no longer the one that was seen. At or behind the end there is
// nothing to read, which asks nobody.
func (s *Source) Open(ctx context.Context, off int64) (io.ReadCloser, error) {
	if off > 0 && off >= s.obj.SizeBytes {
		return io.NopCloser(strings.NewReader("")), nil
	}
	rc, now, err := s.b.Open(ctx, s.obj.Key, Range{Offset: off}, s.obj.ETag)
	if err == nil && now.SizeBytes != s.obj.SizeBytes { // with the ETag of the one that was seen
		rc.Close()
		return nil, s.b.wrap(ctx, "open", s.obj.Key, broker.Errorf(broker.CodeChanged, "%s", s.b.message(broker.CodeChanged)))
	}
	return rc, err
}
