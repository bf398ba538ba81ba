package storage

import (
	"context"
	"io"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// Object is what a bucket says of one object.
type Object struct {
	Key         string
	SizeBytes   int64
	ETag        string // as the bucket gives it, without quotes
	ContentType string // "" from List
	Version     string // "" where the bucket has no versions
	Modified    time.Time
}

// Range asks for part of an object: Length bytes from Offset. The zero value
// asks for all; Length 0 with an Offset asks for the rest.
type Range struct {
	Offset int64
	Length int64
}

// PutOptions go with a Put of the broker's own.
type PutOptions struct {
	ContentType string
	SizeBytes   int64 // negative: unknown, the driver streams in parts
	IfAbsent    bool  // fail with CodeConflict when the key exists
}

// GetOptions bind a link for others.
type GetOptions struct {
	Version     string // where the bucket has versions
	Filename    string // asks for Content-Disposition: attachment with this name
	ContentType string // overrides the answer's Content-Type
}

// Driver is what a cloud must do. It returns raw errors of its SDK; Bucket asks
// Code for their meaning and wraps them once. All methods may be called at once
// and repeat safely.
type Driver interface {
	// Stat describes the object. CodeNotFound when there is none.
	Stat(ctx context.Context, key string) (Object, error)
	// Open reads the object, or a range of it; the caller closes the body.
	// The Object's SizeBytes is the size of the whole object, not of the range.
	// With ifMatch (an ETag without quotes) a changed object is CodeChanged.
	// A range that begins at or behind the end is CodeInvalid. A body that ends
	// early gives an error, never a clean end.
	Open(ctx context.Context, key string, r Range, ifMatch string) (io.ReadCloser, Object, error)
	// List returns up to max (1 to 1000) objects whose keys begin with prefix
	// and sort after after, in the order of their keys' bytes.
	// Fewer than max means that there are no more; a driver whose cloud cuts
	// answers short asks again.
	List(ctx context.Context, prefix, after string, max int) ([]Object, error)
	// Put streams body into the object, in parts where it is long. On an error
	// nothing is stored, also when body ends before or after opts.SizeBytes, or
	// when ctx ends.
	Put(ctx context.Context, key string, body io.Reader, opts PutOptions) (Object, error)
	// Delete removes the object; none there is no error.
	Delete(ctx context.Context, key string) error
	// Code names an error that another method returned: the one table of this
	// SDK's errors.
	Code(err error) broker.Code
}

// PutSigner presigns a PUT. Optional.
//
// The bucket itself must refuse, and store nothing for, a request that differs
// from the one that was signed: in key, method, query or any field of bind that
// is set. A cloud that knows no SHA-1 leaves that field out, and has no Prober:
// its requests are marked Unbound. Content-Length is bound without being listed
// in Request.Headers, since every client sends it by itself and browsers forbid
// setting it; a chunked request has none and is refused.
type PutSigner interface {
	SignPut(ctx context.Context, key string, bind broker.Binding, ttl time.Duration) (broker.Request, error)
}

// Sessioner gives sessions, for clouds whose clients sign their own requests.
// Optional.
//
// The cloud itself must refuse everything but writing objects below the prefix:
// reading, listing, deleting and copying, also there, and any other key.
type Sessioner interface {
	// Session asks the cloud for a session that lives for ttl, or as long as the
	// cloud allows, and may write objects whose keys begin with keyPrefix, whole
	// and in parts, end the uploads in parts that it began, and list their parts.
	// keyPrefix ends in "/" and has nothing that a policy reads as a pattern.
	// Each call makes a new one; Bucket keeps and shares them. CodeTooManyRequests
	// when the cloud throttles, CodeDenied when it refuses the broker.
	Session(ctx context.Context, keyPrefix string, ttl time.Duration) (broker.CloudSession, error)
}

// GetSigner presigns a GET. Optional.
type GetSigner interface {
	SignGet(ctx context.Context, key string, opts GetOptions, ttl time.Duration) (string, error)
}

// Copier copies inside the bucket, on the server's side. Optional.
type Copier interface {
	// Copy copies the object from, if its ETag (without quotes) is ifMatch, over
	// whatever is at to, and describes the copy. CodeChanged when from has
	// another ETag, CodeNotFound when there is none; nothing is copied then. The
	// content type is kept. Objects over 5 GiB may be refused (CodeInvalid, or
	// what the cloud says).
	Copy(ctx context.Context, from, ifMatch, to string) (Object, error)
}

// Prober tries out whether the bucket does what PutSigner promises. Optional.
type Prober interface {
	// ProbeBinding signs requests with the broker's own credentials, uses them
	// wrongly below key, and reports whether the bucket refused each and stored
	// nothing. An error says that nothing was proven: the bucket did not answer,
	// or refused the right use too. What was written is deleted, also after
	// failures; key itself is not written.
	ProbeBinding(ctx context.Context, key string) (bound bool, err error)
}

// Syncer makes an object that was seen outlive a loss of power. Optional: a
// cloud does this by itself, a disk must be asked. An object counts as seen only
// after Sync returned.
type Syncer interface {
	Sync(ctx context.Context, key string) error
}

// Multipart is an upload in parts that was begun and not finished. Its parts
// take room in the bucket, and no List shows them.
type Multipart struct {
	Key      string
	UploadID string
	Began    time.Time
}

// MultipartAborter finds and ends uploads in parts that were never finished.
// Optional; a bucket without it should have a lifecycle rule.
type MultipartAborter interface {
	// ListMultiparts returns the unfinished uploads whose keys begin with prefix.
	// A key may have several.
	ListMultiparts(ctx context.Context, prefix string) ([]Multipart, error)
	// AbortMultipart ends one and frees its parts; none there is no error.
	AbortMultipart(ctx context.Context, key, uploadID string) error
}

// Cleaner removes what is no object and yet lies around: temporary files of
// interrupted uploads, empty folders. Optional.
type Cleaner interface {
	// Clean removes what is older than before and belongs to keys that begin with
	// prefix, and returns how many files that were; folders don't count. Nothing
	// that an upload under way needs is removed.
	Clean(ctx context.Context, prefix string, before time.Time) (int, error)
}
