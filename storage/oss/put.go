package oss

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"hash/crc64"
	"io"
	"net/http"
	"strconv"
	"time"

	sdk "github.com/aliyun/aliyun-oss-go-sdk/oss"

	"github.com/uploadbroker/uploadbroker/storage"
)

// Limits of multipart uploads (Aliyun OSS, "Multipart upload", section "Limits").
const (
	minPartSize     = 100 << 10
	defaultPartSize = 8 << 20
	maxParts        = 10_000
	maxObjectSize   = maxParts * maxPartSize
	maxPartSize     = 5 << 30
)

// abortTimeout bounds the clean-up after a failed upload, which must not depend
// on the context whose end may be the cause.
const abortTimeout = 30 * time.Second

// octetStream is the content type of what has none; the SDK would guess one from
// the key.
const octetStream = "application/octet-stream"

// errTooLarge says that parts would run out. Code knows it.
var errTooLarge = errors.New("oss: the object is longer than 10,000 parts hold")

// Put sends the body in one request when it fits into a part, else as a
// multipart upload. Either way a part lies whole in memory, so that it can be
// sent again after a fault.
func (b *Bucket) Put(ctx context.Context, key string, body io.Reader, opts storage.PutOptions) (storage.Object, error) {
	if err := checkKey(key); err != nil {
		return storage.Object{}, err
	}
	if opts.ContentType == "" {
		opts.ContentType = octetStream
	}
	partSize := b.partSize
	if opts.SizeBytes >= 0 {
		if opts.SizeBytes > maxObjectSize {
			return storage.Object{}, errTooLarge
		}
		partSize = max(partSize, (opts.SizeBytes+maxParts-1)/maxParts)
		body = storage.Exactly(body, opts.SizeBytes)
	}
	room := partSize
	if opts.SizeBytes >= 0 {
		room = min(partSize, opts.SizeBytes) + 1 // one more, to see the end
	}
	first, last, err := storage.ReadPart(body, make([]byte, 0, min(room, 64<<10)), partSize)
	if err != nil {
		return storage.Object{}, err
	}
	if last {
		return b.putWhole(ctx, key, first, opts)
	}
	return b.putParts(ctx, key, first, body, partSize, opts)
}

func putOptions(opts storage.PutOptions) []sdk.Option {
	out := []sdk.Option{sdk.ContentType(opts.ContentType)}
	if opts.IfAbsent {
		out = append(out, sdk.ForbidOverWrite(true))
	}
	return out
}

func (b *Bucket) putWhole(ctx context.Context, key string, data []byte, opts storage.PutOptions) (storage.Object, error) {
	// The SDK compares CRC-64s when all is stored; by this sum OSS itself refuses
	// bytes that changed on their way.
	sum := md5.Sum(data)
	options := append(putOptions(opts), sdk.ContentMD5(base64.StdEncoding.EncodeToString(sum[:])))
	var h http.Header
	err := b.do(ctx, noLimit, func(_ context.Context, with sdk.Option) error {
		request := &sdk.PutObjectRequest{ObjectKey: key, Reader: bytes.NewReader(data)}
		resp, err := b.sdk.DoPutObject(request, append(options[:len(options):len(options)], with))
		if resp != nil {
			defer resp.Close()
			h = resp.Headers
		}
		return err
	})
	if err != nil {
		return storage.Object{}, err
	}
	return stored(key, int64(len(data)), opts.ContentType, h), nil
}

func stored(key string, size int64, contentType string, h http.Header) storage.Object {
	return storage.Object{
		Key: key, SizeBytes: size, ETag: trimETag(h.Get("ETag")),
		ContentType: contentType, Version: version(h), Modified: time.Now(),
	}
}

func (b *Bucket) putParts(ctx context.Context, key string, part []byte, body io.Reader, partSize int64, opts storage.PutOptions) (storage.Object, error) {
	var size int64
	crc := crc64.New(sdk.CrcTable())
	return b.inParts(ctx, key, opts, func(up sdk.InitiateMultipartUploadResult) (done []sdk.UploadPart, _ int64, _ uint64, err error) {
		for last := false; ; {
			if len(done) == maxParts {
				return nil, 0, 0, errTooLarge
			}
			var sent sdk.UploadPart
			err := b.do(ctx, noLimit, func(_ context.Context, with sdk.Option) (err error) {
				sent, err = b.sdk.UploadPart(up, bytes.NewReader(part), int64(len(part)), len(done)+1, with)
				return err
			})
			if err != nil {
				return nil, 0, 0, err
			}
			done = append(done, sent)
			size += int64(len(part))
			crc.Write(part)
			if last {
				break
			}
			if part, last, err = storage.ReadPart(body, part[:0], partSize); err != nil {
				return nil, 0, 0, err
			}
			if len(part) == 0 { // the body ended with the part before
				break
			}
		}
		return done, size, crc.Sum64(), nil
	})
}

// inParts makes an object of the parts that send brings into an upload, and ends
// the upload when that fails. send also tells the size of all parts and their
// CRC-64, 0 when it is not known.
func (b *Bucket) inParts(ctx context.Context, key string, opts storage.PutOptions,
	send func(up sdk.InitiateMultipartUploadResult) ([]sdk.UploadPart, int64, uint64, error)) (_ storage.Object, err error) {

	options := putOptions(opts)
	var begun sdk.InitiateMultipartUploadResult
	err = b.do(ctx, shortTime, func(_ context.Context, with sdk.Option) (err error) {
		begun, err = b.sdk.InitiateMultipartUpload(key, append(options[:len(options):len(options)], with)...)
		return err
	})
	if err != nil {
		return storage.Object{}, err
	}
	up := upload(b.o.Bucket, key, begun.UploadID)
	defer func() {
		if err == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
		defer cancel()
		// What can't be aborted is left to storage.Bucket.SweepMultiparts.
		_ = b.AbortMultipart(ctx, key, up.UploadID)
	}()
	parts, size, crc, err := send(up)
	if err != nil {
		return storage.Object{}, err
	}
	var with []sdk.Option
	if opts.IfAbsent {
		with = append(with, sdk.ForbidOverWrite(true))
	}
	var out sdk.CompleteMultipartUploadResult
	var h http.Header
	tries := 0
	err = b.do(ctx, longTime, func(_ context.Context, withContext sdk.Option) (err error) {
		tries++
		out, err = b.sdk.CompleteMultipartUpload(up, parts, append(with[:len(with):len(with)], withContext, sdk.GetResponseHeader(&h))...)
		return err
	})
	if tries > 1 && isCode(err, "NoSuchUpload") {
		// An earlier try did it, and its answer was lost.
		return b.settled(ctx, key, size, crc, err)
	}
	if err != nil {
		return storage.Object{}, err
	}
	if out.ETag != "" {
		h.Set("ETag", out.ETag)
	}
	return stored(key, size, opts.ContentType, h), nil
}

// settled looks whether the object at key is the one of that size and CRC-64, and
// gives err when it is not.
func (b *Bucket) settled(ctx context.Context, key string, size int64, crc uint64, err error) (storage.Object, error) {
	obj, h, headErr := b.head(ctx, key)
	if headErr != nil || obj.SizeBytes != size || h.Get("X-Oss-Hash-Crc64ecma") != strconv.FormatUint(crc, 10) {
		return storage.Object{}, err
	}
	return obj, nil
}
