package s3

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/uploadbroker/uploadbroker/storage"
)

// Stat is HeadObject. A missing bucket looks like a missing object: a HEAD's
// answer has no body that could tell them apart.
func (b *Bucket) Stat(ctx context.Context, key string) (storage.Object, error) {
	out, err := b.client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: &b.name, Key: &key})
	if err != nil {
		return storage.Object{}, err
	}
	return storage.Object{
		Key:         key,
		SizeBytes:   aws.ToInt64(out.ContentLength),
		ETag:        trimETag(out.ETag),
		ContentType: aws.ToString(out.ContentType),
		Version:     version(out.VersionId),
		Modified:    aws.ToTime(out.LastModified),
	}, nil
}

// Open is GetObject.
func (b *Bucket) Open(ctx context.Context, key string, r storage.Range, ifMatch string) (io.ReadCloser, storage.Object, error) {
	in := &awss3.GetObjectInput{Bucket: &b.name, Key: &key}
	switch {
	case r.Length > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", r.Offset, r.Offset+r.Length-1))
	case r.Offset > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", r.Offset))
	}
	if ifMatch != "" {
		in.IfMatch = aws.String(`"` + ifMatch + `"`)
	}
	out, err := b.client.GetObject(ctx, in)
	if err != nil {
		return nil, storage.Object{}, err
	}
	size := aws.ToInt64(out.ContentLength)
	if in.Range != nil {
		// A server or a proxy that answers another range would make a wrong file of
		// a right one.
		begin, total, _ := strings.Cut(aws.ToString(out.ContentRange), "/")
		if size, err = strconv.ParseInt(total, 10, 64); err != nil || !strings.HasPrefix(begin, fmt.Sprintf("bytes %d-", r.Offset)) {
			out.Body.Close()
			return nil, storage.Object{}, fmt.Errorf("a ranged read was answered with Content-Range %q", aws.ToString(out.ContentRange))
		}
	}
	return out.Body, storage.Object{
		Key:         key,
		SizeBytes:   size,
		ETag:        trimETag(out.ETag),
		ContentType: aws.ToString(out.ContentType),
		Version:     version(out.VersionId),
		Modified:    aws.ToTime(out.LastModified),
	}, nil
}

// List is ListObjectsV2 with start-after, which a new call can resume anywhere;
// continuation tokens can't be kept. Keys travel URL-encoded, since XML can't
// carry all of them.
func (b *Bucket) List(ctx context.Context, prefix, after string, max int) ([]storage.Object, error) {
	objs := make([]storage.Object, 0, min(max, 64))
	for len(objs) < max {
		out, err := b.client.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{
			Bucket:       &b.name,
			Prefix:       &prefix,
			StartAfter:   &after,
			MaxKeys:      aws.Int32(int32(max - len(objs))),
			EncodingType: types.EncodingTypeUrl,
		})
		if err != nil {
			return nil, err
		}
		for _, o := range out.Contents {
			key := aws.ToString(o.Key)
			// A server may leave keys bare; it then says so.
			if out.EncodingType == types.EncodingTypeUrl {
				if key, err = url.QueryUnescape(key); err != nil {
					return nil, fmt.Errorf("list: key %q: %w", aws.ToString(o.Key), err)
				}
			}
			objs = append(objs, storage.Object{
				Key:       key,
				SizeBytes: aws.ToInt64(o.Size),
				ETag:      trimETag(o.ETag),
				Modified:  aws.ToTime(o.LastModified),
			})
		}
		if !aws.ToBool(out.IsTruncated) || len(out.Contents) == 0 {
			break
		}
		after = objs[len(objs)-1].Key
	}
	return objs, nil
}

// Delete is DeleteObject.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	_, err := b.client.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &b.name, Key: &key})
	if isCode(err, "NoSuchKey") { // some servers say so; S3 answers 204
		return nil
	}
	return err
}

// ListMultiparts is ListMultipartUploads. Of a MinIO it sees the uploads that
// began since the server's start; older ones it drops by itself after a day.
func (b *Bucket) ListMultiparts(ctx context.Context, prefix string) ([]storage.Multipart, error) {
	var ups []storage.Multipart
	in := &awss3.ListMultipartUploadsInput{Bucket: &b.name, MaxUploads: aws.Int32(1000)}
	if !b.minio {
		in.Prefix = &prefix
	}
	for {
		out, err := b.client.ListMultipartUploads(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, up := range out.Uploads {
			if key := aws.ToString(up.Key); strings.HasPrefix(key, prefix) {
				ups = append(ups, storage.Multipart{Key: key, UploadID: aws.ToString(up.UploadId), Began: aws.ToTime(up.Initiated)})
			}
		}
		if !aws.ToBool(out.IsTruncated) || len(out.Uploads) == 0 {
			return ups, nil
		}
		in.KeyMarker, in.UploadIdMarker = out.NextKeyMarker, out.NextUploadIdMarker
	}
}

// AbortMultipart is AbortMultipartUpload.
func (b *Bucket) AbortMultipart(ctx context.Context, key, uploadID string) error {
	_, err := b.client.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{Bucket: &b.name, Key: &key, UploadId: &uploadID})
	if isCode(err, "NoSuchUpload") { // it ended meanwhile
		return nil
	}
	return err
}

// version leaves out the "null" that unversioned buckets name.
func version(id *string) string {
	if v := aws.ToString(id); v != "null" {
		return v
	}
	return ""
}
