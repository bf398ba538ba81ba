package worker_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
	"github.com/uploadbroker/uploadbroker/storage/local"
)

// faultyDriver is the embedded bucket, which counts the requests of the worker
// and fails where a test wants it to.
type faultyDriver struct {
	*local.Bucket

	mu    sync.Mutex
	count map[string]int                                   // by operation
	fail  func(op, key string) error                       // nil: never
	body  func(key string, rc io.ReadCloser) io.ReadCloser // nil: as it is
}

// errFault is a bucket that does not answer.
var errFault = errors.New("a fault that the test made")

func (d *faultyDriver) enter(op, key string) error {
	d.mu.Lock()
	d.count[op]++
	fail := d.fail
	d.mu.Unlock()
	if fail != nil {
		return fail(op, key)
	}
	return nil
}

// failing sets what fails from now on.
func (d *faultyDriver) failing(fail func(op, key string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = fail
}

// counted returns the number of an operation's requests since the last call.
func (d *faultyDriver) counted(op string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.count[op]
	d.count[op] = 0
	return n
}

func (d *faultyDriver) Stat(ctx context.Context, key string) (storage.Object, error) {
	if err := d.enter("stat", key); err != nil {
		return storage.Object{}, err
	}
	return d.Bucket.Stat(ctx, key)
}

func (d *faultyDriver) Open(ctx context.Context, key string, r storage.Range, ifMatch string) (io.ReadCloser, storage.Object, error) {
	if err := d.enter("open", key); err != nil {
		return nil, storage.Object{}, err
	}
	rc, obj, err := d.Bucket.Open(ctx, key, r, ifMatch)
	if err == nil && d.body != nil {
		rc = d.body(key, rc)
	}
	return rc, obj, err
}

func (d *faultyDriver) List(ctx context.Context, prefix, after string, max int) ([]storage.Object, error) {
	if err := d.enter("list", prefix); err != nil {
		return nil, err
	}
	return d.Bucket.List(ctx, prefix, after, max)
}

func (d *faultyDriver) Put(ctx context.Context, key string, body io.Reader, opts storage.PutOptions) (storage.Object, error) {
	if err := d.enter("put", key); err != nil {
		return storage.Object{}, err
	}
	return d.Bucket.Put(ctx, key, body, opts)
}

func (d *faultyDriver) Delete(ctx context.Context, key string) error {
	if err := d.enter("delete", key); err != nil {
		return err
	}
	return d.Bucket.Delete(ctx, key)
}

func (d *faultyDriver) Code(err error) broker.Code {
	if errors.Is(err, errFault) {
		return broker.CodeUnavailable
	}
	return d.Bucket.Code(err)
}

// standInDriver is no bucket: it stands in for one with very many objects, to
// count the requests that a look at them takes. It holds keys, no bytes.
type standInDriver struct {
	keys []string // sorted

	mu       sync.Mutex
	requests int
}

var errNoObject = errors.New("no such object")

func (d *standInDriver) request() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests++
}

func (d *standInDriver) object(key string) storage.Object {
	return storage.Object{Key: key, SizeBytes: 3, ETag: "e"}
}

func (d *standInDriver) Stat(_ context.Context, key string) (storage.Object, error) {
	d.request()
	if _, ok := slices.BinarySearch(d.keys, key); !ok {
		return storage.Object{}, errNoObject
	}
	return d.object(key), nil
}

func (d *standInDriver) List(_ context.Context, prefix, after string, max int) (objs []storage.Object, _ error) {
	d.request()
	i, _ := slices.BinarySearchFunc(d.keys, cmp.Or(after, prefix), strings.Compare)
	for ; i < len(d.keys) && len(objs) < max; i++ {
		if d.keys[i] > after && strings.HasPrefix(d.keys[i], prefix) {
			objs = append(objs, d.object(d.keys[i]))
		}
	}
	return objs, nil
}

func (*standInDriver) Open(context.Context, string, storage.Range, string) (io.ReadCloser, storage.Object, error) {
	return nil, storage.Object{}, errNoObject
}

func (*standInDriver) Put(context.Context, string, io.Reader, storage.PutOptions) (storage.Object, error) {
	return storage.Object{}, errors.New("a stand-in takes no bytes")
}

func (*standInDriver) Delete(context.Context, string) error { return nil }

func (*standInDriver) Code(error) broker.Code { return broker.CodeNotFound }
