package local

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"hash"
	"io"
	"net/url"
	"strings"
	"time"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"github.com/uploadbroker/uploadbroker/storage"
)

// CopyObject copies within a bucket. It is made of a GET and a PUT of the
// backend's, since the backend's own copy takes the source's bucket from a
// header, where no absolute path fits, and reads a key with "?versionId=" in it
// as another one. Grants can't ask for it: the gateway, as S3, refuses an
// x-amz-copy-source that was not signed, and so does the handler.
func (a *absBackend) CopyObject(ctx context.Context, in s3response.CopyObjectInput) (s3response.CopyObjectOutput, error) {
	var none s3response.CopyObjectOutput
	if in.Bucket == nil || in.Key == nil || in.CopySource == nil ||
		in.MetadataDirective == types.MetadataDirectiveReplace || in.TaggingDirective == types.TaggingDirectiveReplace {
		return none, s3err.GetAPIError(s3err.ErrNotImplemented)
	}
	bucket, from, err := copySource(*in.CopySource)
	if err != nil {
		return none, err
	}
	switch {
	case bucket != *in.Bucket:
		return none, s3err.GetAPIError(s3err.ErrNotImplemented)
	case from == *in.Key:
		return none, s3err.GetAPIError(s3err.ErrInvalidCopyDest)
	}
	everything := ""
	src, err := a.GetObject(ctx, &awss3.GetObjectInput{
		Bucket: in.Bucket, Key: &from, Range: &everything, ChecksumMode: types.ChecksumModeEnabled,
		IfMatch: in.CopySourceIfMatch, IfNoneMatch: in.CopySourceIfNoneMatch,
		IfModifiedSince: in.CopySourceIfModifiedSince, IfUnmodifiedSince: in.CopySourceIfUnmodifiedSince,
	})
	if err != nil {
		return none, err
	}
	defer src.Body.Close()
	if src.ContentLength == nil || src.ETag == nil {
		return none, s3err.GetAPIError(s3err.ErrInternalError)
	}
	if *src.ContentLength > copyThreshold {
		return none, s3err.GetCopySourceObjectTooLargeErr(copyThreshold)
	}
	// The backend reads the ETag before it opens the file: what is open now is
	// what that ETag means only if the object still has it.
	now, err := a.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: in.Bucket, Key: &from})
	if err != nil {
		return none, err
	}
	if now.ETag == nil || *now.ETag != *src.ETag {
		return none, s3err.GetPreconditionFailedErr(s3err.ConditionIfMatch)
	}
	put := s3response.PutObjectInput{
		Bucket: in.Bucket, Key: in.Key, Body: a.trueBody(src.Body, *src.ETag), ContentLength: src.ContentLength,
		ContentType: src.ContentType, ContentEncoding: src.ContentEncoding,
		ContentDisposition: src.ContentDisposition, ContentLanguage: src.ContentLanguage,
		CacheControl: src.CacheControl, Expires: src.ExpiresString, Metadata: src.Metadata,
	}
	if src.ChecksumSHA1 != nil && src.ChecksumType == types.ChecksumTypeFullObject {
		put.ChecksumSHA1 = src.ChecksumSHA1 // verified once more as the bytes pass
	}
	out, err := a.PutObject(ctx, put)
	if err != nil {
		return none, err
	}
	modified := time.Now()
	return s3response.CopyObjectOutput{CopyObjectResult: &s3response.CopyObjectResult{
		ETag: &out.ETag, LastModified: &modified, ChecksumSHA1: out.ChecksumSHA1, ChecksumType: out.ChecksumType,
	}}, nil
}

// trueBody fails at the end of bytes that are not those of the ETag. It is for
// metadata in a sidecar, which is no part of the file: for an instant of a PUT the
// new ETag stands beside the old bytes. ETags of uploads in parts are no digest
// of the bytes and can't be compared.
func (a *absBackend) trueBody(body io.Reader, etag string) io.Reader {
	want, err := hex.DecodeString(strings.Trim(etag, `"`))
	if _, sidecar := a.meta.(absMeta); !sidecar || err != nil || len(want) != md5.Size {
		return body
	}
	return &trueReader{r: body, sum: md5.New(), want: want}
}

type trueReader struct {
	r    io.Reader
	sum  hash.Hash
	want []byte
}

func (r *trueReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.sum.Write(p[:n])
	if err == io.EOF && !bytes.Equal(r.sum.Sum(nil), r.want) {
		err = s3err.GetPreconditionFailedErr(s3err.ConditionIfMatch)
	}
	return n, err
}

// copySource reads the header x-amz-copy-source: an escaped "bucket/key".
func copySource(header string) (bucket, key string, err error) {
	path, err := url.PathUnescape(strings.TrimPrefix(header, "/"))
	if err != nil {
		return "", "", s3err.GetInvalidArgumentErr(s3err.InvalidArgCopySourceEncoding, header)
	}
	bucket, key, _ = strings.Cut(path, "/")
	if storage.CheckKey(key) != nil || reserved(key) {
		return "", "", s3err.GetInvalidArgumentErr(s3err.InvalidArgCopySourceObject, header)
	}
	// A version that is asked for stands behind the path, unescaped.
	if strings.ContainsRune(header, '?') {
		return "", "", s3err.GetAPIError(s3err.ErrNotImplemented)
	}
	return bucket, key, nil
}
