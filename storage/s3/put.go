package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/uploadbroker/uploadbroker/storage"
)

// Limits of multipart uploads (Amazon S3 User Guide, "Amazon S3 multipart upload limits").
const (
	minPartSize     = 5 << 20
	defaultPartSize = 8 << 20
	maxParts        = 10_000
	maxObjectSize   = 5 << 40
)

// abortTimeout bounds the clean-up after a failed upload, which must not depend
// on the context whose end may be the cause.
const abortTimeout = 30 * time.Second

// errTooLarge says that parts would run out. Code knows it.
var errTooLarge = errors.New("s3: the object is longer than 10,000 parts hold")

// existsError marks a refused precondition of a Put, which has another meaning
// than that of a read: conflict, not changed.
type existsError struct{ error }

func (e existsError) Unwrap() error { return e.error }

// Put sends the body in one request when it fits into a part, else as a
// multipart upload. Either way a part lies whole in memory, so that the SDK can
// sign its digest and send it again after a fault.
func (b *Bucket) Put(ctx context.Context, key string, body io.Reader, opts storage.PutOptions) (storage.Object, error) {
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

func (b *Bucket) putWhole(ctx context.Context, key string, data []byte, opts storage.PutOptions) (storage.Object, error) {
	in := &awss3.PutObjectInput{
		Bucket: &b.name, Key: &key,
		Body:          bytes.NewReader(data),
		ContentLength: aws.Int64(int64(len(data))),
		ContentType:   optional(opts.ContentType),
	}
	if opts.IfAbsent {
		in.IfNoneMatch = aws.String("*")
	}
	out, err := b.client.PutObject(ctx, in)
	if err != nil {
		return storage.Object{}, putError(err, opts)
	}
	return storage.Object{
		Key: key, SizeBytes: int64(len(data)), ETag: trimETag(out.ETag),
		ContentType: opts.ContentType, Version: version(out.VersionId), Modified: time.Now(),
	}, nil
}

func (b *Bucket) putParts(ctx context.Context, key string, part []byte, body io.Reader, partSize int64, opts storage.PutOptions) (_ storage.Object, err error) {
	mp, err := b.client.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{
		Bucket: &b.name, Key: &key, ContentType: optional(opts.ContentType),
	})
	if err != nil {
		return storage.Object{}, err
	}
	defer func() {
		if err == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
		defer cancel()
		// What can't be aborted is left to storage.Bucket.SweepMultiparts.
		_, _ = b.client.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{
			Bucket: &b.name, Key: &key, UploadId: mp.UploadId,
		})
	}()

	var done []types.CompletedPart
	var size int64
	for last := false; ; {
		if len(done) == maxParts {
			return storage.Object{}, errTooLarge
		}
		number := aws.Int32(int32(len(done) + 1))
		out, err := b.client.UploadPart(ctx, &awss3.UploadPartInput{
			Bucket: &b.name, Key: &key, UploadId: mp.UploadId, PartNumber: number,
			Body: bytes.NewReader(part), ContentLength: aws.Int64(int64(len(part))),
		})
		if err != nil {
			return storage.Object{}, err
		}
		done = append(done, types.CompletedPart{
			PartNumber: number, ETag: out.ETag,
			// Amazon's default checksum must be named again on completion.
			ChecksumCRC32: out.ChecksumCRC32, ChecksumCRC64NVME: out.ChecksumCRC64NVME,
		})
		size += int64(len(part))
		if last {
			break
		}
		if part, last, err = storage.ReadPart(body, part[:0], partSize); err != nil {
			return storage.Object{}, err
		}
		if len(part) == 0 { // the body ended with the part before
			break
		}
	}
	in := &awss3.CompleteMultipartUploadInput{
		Bucket: &b.name, Key: &key, UploadId: mp.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
	}
	if opts.IfAbsent {
		in.IfNoneMatch = aws.String("*")
	}
	out, err := b.client.CompleteMultipartUpload(ctx, in)
	if err != nil {
		return storage.Object{}, putError(err, opts)
	}
	return storage.Object{
		Key: key, SizeBytes: size, ETag: trimETag(out.ETag),
		ContentType: opts.ContentType, Version: version(out.VersionId), Modified: time.Now(),
	}, nil
}

func putError(err error, opts storage.PutOptions) error {
	if opts.IfAbsent && (isCode(err, "PreconditionFailed") || isCode(err, "ConditionalRequestConflict") || isStatus(err, 412)) {
		return existsError{err}
	}
	return err
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
