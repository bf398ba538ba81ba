package oss

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	sdk "github.com/aliyun/aliyun-oss-go-sdk/oss"

	"github.com/uploadbroker/uploadbroker/storage"
)

// Bounds of copies (Aliyun OSS API Reference, CopyObject: objects over 1 GB are
// copied in parts).
const (
	maxCopyWhole = 1 << 30
	copyPartSize = 256 << 20
)

// errChanged says that a source is no longer the one to copy. Code knows it.
var errChanged = errors.New("oss: the object has another ETag")

// Copy looks at the source, whose size and type the copy will have, and copies it
// in one request, or in parts when it is longer than OSS copies at once. Each
// request asks for the ETag again. Of its metadata a copy in parts keeps the
// content type alone.
func (b *Bucket) Copy(ctx context.Context, from, ifMatch, to string) (storage.Object, error) {
	src, h, err := b.head(ctx, from)
	if err != nil {
		return storage.Object{}, err
	}
	if err := checkKey(to); err != nil {
		return storage.Object{}, err
	}
	if src.ETag != ifMatch {
		return storage.Object{}, errChanged
	}
	match := sdk.CopySourceIfMatch(`"` + ifMatch + `"`)
	if src.SizeBytes > b.copyWhole {
		return b.copyParts(ctx, src, h, match, to)
	}
	var out sdk.CopyObjectResult
	var answered http.Header
	err = b.do(ctx, longTime, func(_ context.Context, with sdk.Option) (err error) {
		out, err = b.sdk.CopyObject(from, to, match, sdk.MetadataDirective(sdk.MetaCopy), with, sdk.GetResponseHeader(&answered))
		return err
	})
	if err != nil {
		return storage.Object{}, err
	}
	return storage.Object{
		Key: to, SizeBytes: src.SizeBytes, ETag: trimETag(out.ETag), ContentType: src.ContentType,
		Version: version(answered), Modified: out.LastModified,
	}, nil
}

func (b *Bucket) copyParts(ctx context.Context, src storage.Object, h http.Header, match sdk.Option, to string) (storage.Object, error) {
	partSize := max(min(copyPartSize, b.copyWhole), (src.SizeBytes+maxParts-1)/maxParts)
	crc, _ := strconv.ParseUint(h.Get("X-Oss-Hash-Crc64ecma"), 10, 64)
	opts := storage.PutOptions{ContentType: src.ContentType}
	if opts.ContentType == "" {
		opts.ContentType = octetStream
	}
	return b.inParts(ctx, to, opts, func(up sdk.InitiateMultipartUploadResult) (done []sdk.UploadPart, _ int64, _ uint64, err error) {
		for at := int64(0); at < src.SizeBytes; at += partSize {
			var part sdk.UploadPart
			err := b.do(ctx, longTime, func(_ context.Context, with sdk.Option) (err error) {
				part, err = b.sdk.UploadPartCopy(up, b.o.Bucket, src.Key, at, min(partSize, src.SizeBytes-at), len(done)+1, match, with)
				return err
			})
			if err != nil {
				return nil, 0, 0, err
			}
			done = append(done, part)
		}
		return done, src.SizeBytes, crc, nil
	})
}
