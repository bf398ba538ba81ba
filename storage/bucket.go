package storage

import (
	"context"
	"io"
	"iter"
	"sync/atomic"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// How long a signed request may live.
const (
	DefaultGrantTTL = 3 * time.Hour
	MinTTL          = time.Second
	MaxTTL          = 7 * 24 * time.Hour // S3 and OSS refuse more
)

// maxList is the most that S3 and OSS list in one request.
const maxList = 1000

// Info describes a bucket as the configuration names it.
type Info struct {
	Symbol   string        // its name in the API, such as HongKong
	Display  string        // its name for people
	Cloud    broker.Cloud  // its family
	GrantTTL time.Duration // the longest life of a grant; 0: DefaultGrantTTL
	Drain    bool          // takes no new grants, is still read
}

// Observer is told of each operation: the bucket's symbol, the operation (stat,
// open, list, put, copy, delete, sign_put, sign_get, session, sync, sweep,
// list_multiparts, abort_multipart, clean, probe), how long it took, and the code of its error ("" for
// none). An open ends when its body begins; a session is a call to the cloud, those
// given from memory are not told.
// It is called on the operation's own goroutine and must be quick.
type Observer func(symbol, op string, took time.Duration, code broker.Code)

// Option changes how New makes a Bucket.
type Option func(*Bucket)

// WithObserver reports every operation, for metrics.
func WithObserver(o Observer) Option { return func(b *Bucket) { b.observe = o } }

// Bucket is a place for objects in some cloud. Its errors are *broker.Error;
// errors.Is also finds the end of a context in them. All methods may be called
// at once.
type Bucket struct {
	info      Info
	driver    Driver
	put       PutSigner        // nil: can't
	get       GetSigner        // nil: can't
	sessioner Sessioner        // nil: can't
	copier    Copier           // nil: can't
	prober    Prober           // nil: can't
	syncer    Syncer           // nil: needs none
	aborter   MultipartAborter // nil: can't
	cleaner   Cleaner          // nil: needs none
	observe   Observer
	sessions  *sessions
	binding   atomic.Int32 // what is known of the bucket's bindings: see probe.go
}

// New makes a Bucket over a driver. It does not reach out.
func New(info Info, d Driver, opts ...Option) (*Bucket, error) {
	if info.Symbol == "" {
		return nil, broker.Errorf(broker.CodeInvalid, "a bucket needs a symbol")
	}
	if _, err := broker.ParseCloud(string(info.Cloud)); err != nil {
		return nil, err
	}
	if d == nil {
		return nil, broker.Errorf(broker.CodeInvalid, "bucket %s needs a driver", info.Symbol)
	}
	switch {
	case info.GrantTTL == 0:
		info.GrantTTL = DefaultGrantTTL
	case info.GrantTTL < MinTTL || info.GrantTTL > MaxTTL:
		return nil, broker.Errorf(broker.CodeInvalid, "bucket %s: a grant lives between %v and %v, not %v",
			info.Symbol, MinTTL, MaxTTL, info.GrantTTL)
	}
	b := &Bucket{info: info, driver: d, sessions: newSessions(), observe: func(string, string, time.Duration, broker.Code) {}}
	b.put, _ = d.(PutSigner)
	b.get, _ = d.(GetSigner)
	b.sessioner, _ = d.(Sessioner)
	b.copier, _ = d.(Copier)
	b.prober, _ = d.(Prober)
	b.syncer, _ = d.(Syncer)
	b.aborter, _ = d.(MultipartAborter)
	b.cleaner, _ = d.(Cleaner)
	for _, opt := range opts {
		opt(b)
	}
	return b, nil
}

// Info describes the bucket; GrantTTL is set.
func (b *Bucket) Info() Info { return b.info }

// CanSignPut reports whether SignPut works here.
func (b *Bucket) CanSignPut() bool { return b.put != nil }

// CanSignGet reports whether SignGet works here.
func (b *Bucket) CanSignGet() bool { return b.get != nil }

// CanCopy reports whether Copy works here.
func (b *Bucket) CanCopy() bool { return b.copier != nil }

// CanProbe reports whether Probe works here.
func (b *Bucket) CanProbe() bool { return b.prober != nil }

// NeedsSync reports whether Sync does anything here.
func (b *Bucket) NeedsSync() bool { return b.syncer != nil }

// CanSweepMultiparts reports whether SweepMultiparts, Multiparts and
// AbortMultipart work here.
func (b *Bucket) CanSweepMultiparts() bool { return b.aborter != nil }

// do runs one operation: it wraps what fails and tells the observer.
func (b *Bucket) do(ctx context.Context, op, key string, f func() error) error {
	start := time.Now()
	err := b.wrap(ctx, op, key, f())
	b.observe(b.info.Symbol, op, time.Since(start), broker.CodeOf(err))
	return err
}

// Stat describes an object. CodeNotFound when there is none.
func (b *Bucket) Stat(ctx context.Context, key string) (obj Object, err error) {
	err = b.do(ctx, "stat", key, func() error {
		if err := CheckKey(key); err != nil {
			return err
		}
		obj, err = b.driver.Stat(ctx, key)
		return err
	})
	return obj, err
}

// Open reads an object, or a range of it; the caller closes the body. With
// ifMatch (an ETag without quotes) an object that is no longer that one is
// CodeChanged. The body's errors have codes too.
func (b *Bucket) Open(ctx context.Context, key string, r Range, ifMatch string) (rc io.ReadCloser, obj Object, err error) {
	err = b.do(ctx, "open", key, func() error {
		if err := CheckKey(key); err != nil {
			return err
		}
		if r.Offset < 0 || r.Length < 0 {
			return broker.Errorf(broker.CodeInvalid, "a range can't be negative")
		}
		raw, o, err := b.driver.Open(ctx, key, r, ifMatch)
		if err != nil {
			return err
		}
		// Not every server heeds If-Match on GET, so look at what came.
		if ifMatch != "" && o.ETag != ifMatch {
			raw.Close()
			return broker.Errorf(broker.CodeChanged, "%s", b.message(broker.CodeChanged))
		}
		rc, obj = &body{ReadCloser: raw, ctx: ctx, b: b, key: key}, o
		return nil
	})
	return rc, obj, err
}

// List returns up to max objects (0, or more than 1000: 1000) whose keys begin
// with prefix and sort after after, in the order of their keys' bytes.
func (b *Bucket) List(ctx context.Context, prefix, after string, max int) (objs []Object, err error) {
	if max <= 0 || max > maxList {
		max = maxList
	}
	err = b.do(ctx, "list", prefix, func() error {
		if err := checkPrefix(prefix); err != nil {
			return err
		}
		if err := checkPrefix(after); err != nil {
			return err
		}
		objs, err = b.driver.List(ctx, prefix, after, max)
		return err
	})
	return objs, err
}

// All goes through all objects below prefix, page by page. An error comes as
// the last pair.
func (b *Bucket) All(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		for after := ""; ; {
			page, err := b.List(ctx, prefix, after, maxList)
			if err != nil {
				yield(Object{}, err)
				return
			}
			for _, obj := range page {
				if !yield(obj, nil) {
					return
				}
			}
			if len(page) < maxList {
				return
			}
			after = page[len(page)-1].Key
		}
	}
}

// Put streams body into an object. On an error nothing is stored. An error of
// body's that has a code keeps it.
func (b *Bucket) Put(ctx context.Context, key string, body io.Reader, opts PutOptions) (obj Object, err error) {
	err = b.do(ctx, "put", key, func() error {
		if err := CheckKey(key); err != nil {
			return err
		}
		if err := checkContentType(opts.ContentType); err != nil {
			return err
		}
		obj, err = b.driver.Put(ctx, key, body, opts)
		return err
	})
	return obj, err
}

// Delete removes an object; none there is no error.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	return b.do(ctx, "delete", key, func() error {
		if err := CheckKey(key); err != nil {
			return err
		}
		return b.driver.Delete(ctx, key)
	})
}

// SignPut gives the right to write one object. ttl is clamped to between one
// second and Info's GrantTTL; the Request says when it really ends, which is
// earlier still when the broker's own credentials end first. A Request that
// binds a size or a sha1 is Unbound unless Bound knows better.
// CodeNotSupported where the bucket can't.
func (b *Bucket) SignPut(ctx context.Context, key string, bind broker.Binding, ttl time.Duration) (req broker.Request, err error) {
	err = b.do(ctx, "sign_put", key, func() error {
		if b.put == nil {
			return b.notSupported()
		}
		if err := CheckKey(key); err != nil {
			return err
		}
		if err := checkContentType(bind.ContentType); err != nil {
			return err
		}
		req, err = b.put.SignPut(ctx, key, bind, b.clamp(ttl))
		req.Unbound = (bind.SizeBytes >= 0 || !bind.SHA1.IsZero()) && !b.holdsBindings()
		return err
	})
	return req, err
}

// SignGet gives a link that reads one object. ttl is clamped as in SignPut.
// CodeNotSupported where the bucket can't.
func (b *Bucket) SignGet(ctx context.Context, key string, opts GetOptions, ttl time.Duration) (url string, err error) {
	err = b.do(ctx, "sign_get", key, func() error {
		if b.get == nil {
			return b.notSupported()
		}
		if err := CheckKey(key); err != nil {
			return err
		}
		if err := checkContentType(opts.ContentType); err != nil {
			return err
		}
		url, err = b.get.SignGet(ctx, key, opts, b.clamp(ttl))
		return err
	})
	return url, err
}

// Sync makes an object that was seen outlive a loss of power. Where the bucket
// does so by itself there is nothing to do, and no error.
func (b *Bucket) Sync(ctx context.Context, key string) error {
	if b.syncer == nil {
		return nil
	}
	return b.do(ctx, "sync", key, func() error {
		if err := CheckKey(key); err != nil {
			return err
		}
		return b.syncer.Sync(ctx, key)
	})
}

func (b *Bucket) clamp(ttl time.Duration) time.Duration {
	return min(max(ttl, MinTTL), b.info.GrantTTL, MaxTTL)
}
