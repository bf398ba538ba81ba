package oss

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	sdk "github.com/aliyun/aliyun-oss-go-sdk/oss"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// maxKeyBytes is the longest key that OSS takes.
const maxKeyBytes = 1023

// errOdd says that an answer is none of OSS or STS. Code knows it.
var errOdd = errors.New("oss: an answer that makes no sense")

func checkKey(key string) error {
	if len(key) > maxKeyBytes {
		return broker.Errorf(broker.CodeInvalidName, "the key has %d bytes, OSS takes %d", len(key), maxKeyBytes)
	}
	return nil
}

// Stat is HeadObject.
func (b *Bucket) Stat(ctx context.Context, key string) (storage.Object, error) {
	obj, _, err := b.head(ctx, key)
	return obj, err
}

// head is Stat, with the headers that it comes from.
func (b *Bucket) head(ctx context.Context, key string) (obj storage.Object, h http.Header, err error) {
	if err := checkKey(key); err != nil {
		return obj, nil, err
	}
	err = b.do(ctx, shortTime, func(_ context.Context, with sdk.Option) (err error) {
		h, err = b.sdk.GetObjectDetailedMeta(key, with)
		return err
	})
	if err != nil {
		return obj, nil, err
	}
	obj = describe(key, h)
	if obj.SizeBytes, err = strconv.ParseInt(h.Get("Content-Length"), 10, 64); err != nil {
		return obj, nil, fmt.Errorf("%w: an object without a length", errOdd)
	}
	return obj, h, nil
}

// describe reads all but the size.
func describe(key string, h http.Header) storage.Object {
	modified, _ := http.ParseTime(h.Get("Last-Modified"))
	return storage.Object{
		Key: key, ETag: trimETag(h.Get("ETag")), ContentType: h.Get("Content-Type"),
		Version: version(h), Modified: modified,
	}
}

// Open is GetObject. A range must be asked for in the standard way: else OSS
// answers one that it does not like with the whole object.
func (b *Bucket) Open(ctx context.Context, key string, r storage.Range, ifMatch string) (io.ReadCloser, storage.Object, error) {
	if err := checkKey(key); err != nil {
		return nil, storage.Object{}, err
	}
	// Packed bytes are others than the ETag's.
	opts := []sdk.Option{sdk.AcceptEncoding("identity")}
	ranged := true
	switch {
	case r.Length > 0:
		opts = append(opts, sdk.NormalizedRange(fmt.Sprintf("%d-%d", r.Offset, r.Offset+r.Length-1)))
	case r.Offset > 0:
		opts = append(opts, sdk.NormalizedRange(fmt.Sprintf("%d-", r.Offset)))
	default:
		ranged = false
	}
	if ranged {
		opts = append(opts, sdk.RangeBehavior("standard"))
	}
	if ifMatch != "" {
		opts = append(opts, sdk.IfMatch(`"`+ifMatch+`"`))
	}
	var result *sdk.GetObjectResult
	var end context.CancelCauseFunc
	err := b.do(ctx, noLimit, func(ctx context.Context, _ sdk.Option) (err error) {
		// The time is for the answer's head; the body comes as fast as it is read.
		var try context.Context
		try, end = context.WithCancelCause(ctx)
		timer := time.AfterFunc(shortTime, func() { end(errSlow) })
		result, err = b.sdk.DoGetObject(&sdk.GetObjectRequest{ObjectKey: key}, append(opts[:len(opts):len(opts)], sdk.WithContext(try)))
		if late := !timer.Stop(); late && err == nil {
			result.Response.Close()
			err = errSlow
		} else if late && ctx.Err() == nil {
			err = errSlow
		}
		if err != nil {
			end(nil)
		}
		return err
	})
	if err != nil {
		return nil, storage.Object{}, err
	}
	h := result.Response.Headers
	obj := describe(key, h)
	length := h.Get("Content-Length")
	if ranged {
		var begin string
		begin, length, _ = strings.Cut(h.Get("Content-Range"), "/")
		if result.Response.StatusCode != http.StatusPartialContent || !strings.HasPrefix(begin, fmt.Sprintf("bytes %d-", r.Offset)) {
			length = ""
		}
	}
	if obj.SizeBytes, err = strconv.ParseInt(length, 10, 64); err != nil {
		result.Response.Close()
		end(nil)
		return nil, storage.Object{}, fmt.Errorf("%w: a read was answered %d with Content-Range %q, Content-Length %q",
			errOdd, result.Response.StatusCode, h.Get("Content-Range"), h.Get("Content-Length"))
	}
	return &body{result: result, end: func() { end(nil) }, check: !ranged && h.Get("X-Oss-Hash-Crc64ecma") != ""}, obj, nil
}

// body is an object that is read. net/http makes an early end an error; other
// bytes than OSS has are one too.
type body struct {
	result *sdk.GetObjectResult
	end    func()
	check  bool // the answer has a CRC-64, of the whole object
}

func (r *body) Read(p []byte) (int, error) {
	n, err := r.result.Response.Read(p)
	if err == io.EOF && r.check && r.result.ClientCRC.Sum64() != r.result.ServerCRC {
		return n, fmt.Errorf("%w: the bytes have another CRC-64 than the object", errOdd)
	}
	return n, err
}

func (r *body) Close() error {
	err := r.result.Response.Close()
	r.end()
	return err
}

// List is ListObjectsV2 with start-after, which a new call can resume anywhere.
// Keys travel URL-encoded; the SDK sees to that.
func (b *Bucket) List(ctx context.Context, prefix, after string, max int) ([]storage.Object, error) {
	objs := make([]storage.Object, 0, min(max, 64))
	for len(objs) < max {
		opts := []sdk.Option{sdk.MaxKeys(max - len(objs))}
		// A parameter without a value is spelled in more than one way when signed.
		if prefix != "" {
			opts = append(opts, sdk.Prefix(prefix))
		}
		if after != "" {
			opts = append(opts, sdk.StartAfter(after))
		}
		var out sdk.ListObjectsResultV2
		err := b.do(ctx, shortTime, func(_ context.Context, with sdk.Option) (err error) {
			out, err = b.sdk.ListObjectsV2(append(opts[:len(opts):len(opts)], with)...)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, o := range out.Objects {
			objs = append(objs, storage.Object{Key: o.Key, SizeBytes: o.Size, ETag: trimETag(o.ETag), Modified: o.LastModified})
		}
		if !out.IsTruncated || len(out.Objects) == 0 {
			break
		}
		after = objs[len(objs)-1].Key
	}
	return objs, nil
}

// Delete is DeleteObject.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	err := b.do(ctx, shortTime, func(_ context.Context, with sdk.Option) error { return b.sdk.DeleteObject(key, with) })
	if isCode(err, "NoSuchKey") {
		return nil
	}
	return err
}

// ListMultiparts is ListMultipartUploads.
func (b *Bucket) ListMultiparts(ctx context.Context, prefix string) ([]storage.Multipart, error) {
	var ups []storage.Multipart
	opts := []sdk.Option{sdk.MaxUploads(1000)}
	if prefix != "" {
		opts = append(opts, sdk.Prefix(prefix))
	}
	keyMarker, idMarker := "", ""
	for next := opts; ; {
		var out sdk.ListMultipartUploadResult
		err := b.do(ctx, shortTime, func(_ context.Context, with sdk.Option) (err error) {
			out, err = b.sdk.ListMultipartUploads(append(next[:len(next):len(next)], with)...)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, up := range out.Uploads {
			ups = append(ups, storage.Multipart{Key: up.Key, UploadID: up.UploadID, Began: up.Initiated})
		}
		if !out.IsTruncated || len(out.Uploads) == 0 {
			return ups, nil
		}
		if out.NextKeyMarker == keyMarker && out.NextUploadIDMarker == idMarker {
			return nil, fmt.Errorf("%w: a list that goes on where it began", errOdd)
		}
		keyMarker, idMarker = out.NextKeyMarker, out.NextUploadIDMarker
		next = append(opts[:len(opts):len(opts)], sdk.KeyMarker(keyMarker))
		if idMarker != "" {
			next = append(next, sdk.UploadIDMarker(idMarker))
		}
	}
}

// AbortMultipart is AbortMultipartUpload.
func (b *Bucket) AbortMultipart(ctx context.Context, key, uploadID string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	err := b.do(ctx, shortTime, func(_ context.Context, with sdk.Option) error {
		return b.sdk.AbortMultipartUpload(upload(b.o.Bucket, key, uploadID), with)
	})
	if isCode(err, "NoSuchUpload") { // it ended meanwhile
		return nil
	}
	return err
}

// upload names an upload in parts by our own copy of the key: an answer's can't
// hold every character.
func upload(bucket, key, uploadID string) sdk.InitiateMultipartUploadResult {
	return sdk.InitiateMultipartUploadResult{Bucket: bucket, Key: key, UploadID: uploadID}
}

// trimETag takes the quotes off, as storage.Object wants it.
func trimETag(s string) string { return strings.Trim(s, `"`) }

// version leaves out the "null" of what came before versions were switched on.
func version(h http.Header) string {
	if v := sdk.GetVersionId(h); v != "null" {
		return v
	}
	return ""
}
