package local

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path"
	"strings"
	"time"

	"github.com/versity/versitygw/backend/posix"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
	"github.com/uploadbroker/uploadbroker/storage/s3"
)

// partSize is larger than in a cloud: no network is between, and the gateway
// copies parts together at the end.
const partSize = 16 << 20

// tmpMark is in the names that the gateway gives an object for the instant
// between its link and its rename: ".<name>.sgwtmp.<nanoseconds>".
const tmpMark = posix.MetaTmpDir + "."

// errReserved refuses names that the gateway keeps for itself.
var errReserved = broker.Errorf(broker.CodeInvalidName, "the key has a segment that the local bucket keeps for itself")

// Bucket is the storage.Driver of one S3 bucket of a Gateway.
type Bucket struct {
	*s3.Bucket
	gateway *Gateway
	name    string
	root    *os.Root // of the bucket's folder: links out of it are not followed
}

var (
	_ storage.Driver           = (*Bucket)(nil)
	_ storage.PutSigner        = (*Bucket)(nil)
	_ storage.GetSigner        = (*Bucket)(nil)
	_ storage.Copier           = (*Bucket)(nil)
	_ storage.Prober           = (*Bucket)(nil) // the s3 driver's, past the handler
	_ storage.Syncer           = (*Bucket)(nil)
	_ storage.MultipartAborter = (*Bucket)(nil)
	_ storage.Cleaner          = (*Bucket)(nil)
)

// Close frees the bucket's folder. The driver is not used after it.
func (b *Bucket) Close() error { return b.root.Close() }

// reserved reports whether the gateway would hide or mistake such an object.
func reserved(key string) bool {
	for segment := range strings.SplitSeq(key, "/") {
		if segment == posix.MetaTmpDir || isTemporary(segment) {
			return true
		}
	}
	return false
}

func isTemporary(name string) bool {
	return strings.HasPrefix(name, ".") && strings.Contains(name, tmpMark)
}

// Stat is the gateway's.
func (b *Bucket) Stat(ctx context.Context, key string) (storage.Object, error) {
	if reserved(key) {
		return storage.Object{}, fs.ErrNotExist
	}
	return b.Bucket.Stat(ctx, key)
}

// Open is the gateway's.
func (b *Bucket) Open(ctx context.Context, key string, r storage.Range, ifMatch string) (io.ReadCloser, storage.Object, error) {
	if reserved(key) {
		return nil, storage.Object{}, fs.ErrNotExist
	}
	return b.Bucket.Open(ctx, key, r, ifMatch)
}

// List is the gateway's, less its temporary files.
func (b *Bucket) List(ctx context.Context, prefix, after string, max int) ([]storage.Object, error) {
	var objs []storage.Object
	for {
		page, err := b.Bucket.List(ctx, prefix, after, max-len(objs))
		if err != nil {
			return nil, err
		}
		asked := max - len(objs)
		for _, obj := range page {
			if !isTemporary(path.Base(obj.Key)) {
				objs = append(objs, obj)
			}
		}
		if len(page) < asked || len(objs) == max {
			return objs, nil
		}
		after = page[len(page)-1].Key
	}
}

// Put is the gateway's.
func (b *Bucket) Put(ctx context.Context, key string, body io.Reader, opts storage.PutOptions) (storage.Object, error) {
	if reserved(key) {
		return storage.Object{}, errReserved
	}
	return b.Bucket.Put(ctx, key, body, opts)
}

// Copy is the gateway's. The copy is not synced: storage.Bucket does that.
func (b *Bucket) Copy(ctx context.Context, from, ifMatch, to string) (storage.Object, error) {
	switch {
	case reserved(to):
		return storage.Object{}, errReserved
	case reserved(from):
		return storage.Object{}, fs.ErrNotExist
	}
	return b.Bucket.Copy(ctx, from, ifMatch, to)
}

// Delete is the gateway's.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if reserved(key) {
		return errReserved
	}
	return b.Bucket.Delete(ctx, key)
}

// SignPut signs for the internal host and leaves the host out: the URL begins
// with "/<bucket>/".
func (b *Bucket) SignPut(ctx context.Context, key string, bind broker.Binding, ttl time.Duration) (broker.Request, error) {
	if reserved(key) {
		return broker.Request{}, errReserved
	}
	req, err := b.Bucket.SignPut(ctx, key, bind, ttl)
	req.URL = strings.TrimPrefix(req.URL, "http://"+internalHost)
	return req, err
}

// SignGet signs as SignPut does.
func (b *Bucket) SignGet(ctx context.Context, key string, opts storage.GetOptions, ttl time.Duration) (string, error) {
	url, err := b.Bucket.SignGet(ctx, key, opts, ttl)
	return strings.TrimPrefix(url, "http://"+internalHost), err
}

// Code adds the file system's errors to S3's table.
func (b *Bucket) Code(err error) broker.Code {
	var network *net.OpError
	switch {
	case errors.As(err, &network):
		// First, since a socket that is gone is "no such file" too, and must
		// never look like an object that is gone.
		return broker.CodeUnavailable
	case errors.Is(err, fs.ErrNotExist):
		return broker.CodeNotFound
	case errors.Is(err, fs.ErrPermission):
		return broker.CodeDenied
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		return broker.CodeUnavailable // a disk in trouble
	}
	return b.Bucket.Code(err)
}
