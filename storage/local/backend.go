package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
	"golang.org/x/sys/unix"
)

// absBackend lets the gateway's POSIX backend work in any working directory, and
// only do what this program needs.
//
// posix.Posix reaches a bucket by its bare name, relative to the working
// directory that posix.New left. Here every call names it by its absolute path
// instead, which the backend joins and opens just so. What is not written out
// below and in copy.go (copies between buckets, versions, tagging, policies,
// listing buckets, the admin API's calls) is BackendUnsupported: a smaller door
// than S3's.
type absBackend struct {
	backend.BackendUnsupported
	posix *posix.Posix
	meta  meta.MetadataStorer
	root  string // absolute
	disk  *disk
}

var _ backend.Backend = (*absBackend)(nil)

func (a *absBackend) abs(bucket string) string { return filepath.Join(a.root, bucket) }

func (a *absBackend) ptr(bucket *string) *string {
	if bucket == nil {
		return nil
	}
	p := a.abs(*bucket)
	return &p
}

// clean takes the path out of an error's bucket name, which clients see.
func (a *absBackend) clean(err error) error {
	var be s3err.BucketError
	if errors.As(err, &be) {
		be.BucketName = filepath.Base(be.BucketName)
		return be
	}
	return err
}

func (a *absBackend) String() string { return "local" }
func (a *absBackend) Shutdown()      { a.posix.Shutdown() }

func (a *absBackend) HeadBucket(ctx context.Context, in *awss3.HeadBucketInput) (*awss3.HeadBucketOutput, error) {
	c := *in
	c.Bucket = a.ptr(in.Bucket)
	out, err := a.posix.HeadBucket(ctx, &c)
	return out, a.clean(err)
}

func (a *absBackend) CreateBucket(ctx context.Context, in *awss3.CreateBucketInput, acl []byte) error {
	c := *in
	c.Bucket = a.ptr(in.Bucket)
	return a.clean(a.posix.CreateBucket(ctx, &c, acl))
}

func (a *absBackend) GetBucketAcl(ctx context.Context, in *awss3.GetBucketAclInput) ([]byte, error) {
	c := *in
	c.Bucket = a.ptr(in.Bucket)
	out, err := a.posix.GetBucketAcl(ctx, &c)
	return out, a.clean(err)
}

func (a *absBackend) GetBucketPolicy(ctx context.Context, bucket string) ([]byte, error) {
	out, err := a.posix.GetBucketPolicy(ctx, a.abs(bucket))
	return out, a.clean(err)
}

func (a *absBackend) GetBucketCors(ctx context.Context, bucket string) ([]byte, error) {
	out, err := a.posix.GetBucketCors(ctx, a.abs(bucket))
	return out, a.clean(err)
}

func (a *absBackend) GetBucketVersioning(ctx context.Context, bucket string) (s3response.GetBucketVersioningOutput, error) {
	out, err := a.posix.GetBucketVersioning(ctx, a.abs(bucket))
	return out, a.clean(err)
}

func (a *absBackend) GetObjectLockConfiguration(ctx context.Context, bucket string) ([]byte, error) {
	out, err := a.posix.GetObjectLockConfiguration(ctx, a.abs(bucket))
	return out, a.clean(err)
}

func (a *absBackend) HeadObject(ctx context.Context, in *awss3.HeadObjectInput) (*awss3.HeadObjectOutput, error) {
	c := *in
	c.Bucket = a.ptr(in.Bucket)
	out, err := a.posix.HeadObject(ctx, &c)
	return out, a.clean(err)
}

func (a *absBackend) GetObject(ctx context.Context, in *awss3.GetObjectInput) (*awss3.GetObjectOutput, error) {
	c := *in
	c.Bucket = a.ptr(in.Bucket)
	out, err := a.posix.GetObject(ctx, &c)
	return out, a.clean(err)
}

func (a *absBackend) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	key := ""
	if in.Key != nil {
		key = *in.Key
	}
	bucket := a.ptr(in.Bucket)
	in.Bucket = bucket
	if in.ContentLength != nil {
		release, ok := a.disk.claim(*in.ContentLength)
		if !ok {
			drain(in.Body)
			return s3response.PutObjectOutput{}, errFull()
		}
		defer release()
		in.Body = a.wholeBody(in.Body, *in.ContentLength, release)
	}
	out, err := a.posix.PutObject(ctx, in)
	return out, a.clean(named(a.trueConflict(err, *bucket, key)))
}

// trueConflict corrects what the backend calls a conflict although nothing is in
// the way: it says so of every failure to make the folder or link the file,
// which on a full disk would stop the client from trying again.
func (a *absBackend) trueConflict(err error, bucket, key string) error {
	var s3e s3err.S3Error
	if !errors.As(err, &s3e) || s3e.BaseError().Code != s3err.GetAPIError(s3err.ErrExistingObjectIsDirectory).Code {
		return err
	}
	path := bucket
	segments := strings.Split(key, "/")
	for i, segment := range segments {
		path = filepath.Join(path, segment)
		info, statErr := os.Lstat(path)
		if statErr != nil {
			break
		}
		if info.IsDir() == (i == len(segments)-1) {
			return err
		}
	}
	var disk unix.Statfs_t
	if unix.Statfs(bucket, &disk) == nil && (disk.Bavail == 0 || disk.Ffree == 0) {
		return errFull()
	}
	return s3err.GetAPIError(s3err.ErrInternalError)
}

// DeleteObject removes the file and leaves its folders to Clean. The
// backend's own removes folders that became empty at once, and a PUT to the same
// folder at that instant fails when its body is already read.
func (a *absBackend) DeleteObject(_ context.Context, in *awss3.DeleteObjectInput) (*awss3.DeleteObjectOutput, error) {
	if in.Bucket == nil || in.Key == nil || in.VersionId != nil && *in.VersionId != "" {
		return nil, s3err.GetAPIError(s3err.ErrInvalidRequest)
	}
	if _, err := os.Stat(a.abs(*in.Bucket)); err != nil {
		return nil, s3err.GetBucketErr(s3err.ErrNoSuchBucket, *in.Bucket)
	}
	path := filepath.Join(a.abs(*in.Bucket), *in.Key)
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENAMETOOLONG),
		err == nil && info.IsDir():
		return &awss3.DeleteObjectOutput{}, nil // no such object
	case err != nil:
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := a.meta.DeleteAttributes(a.abs(*in.Bucket), *in.Key); err != nil {
		return nil, err
	}
	return &awss3.DeleteObjectOutput{}, nil
}

func (a *absBackend) ListObjectsV2(ctx context.Context, in *awss3.ListObjectsV2Input) (s3response.ListObjectsV2Result, error) {
	c := *in
	c.Bucket = a.ptr(in.Bucket)
	out, err := a.posix.ListObjectsV2(ctx, &c)
	out.Name = in.Bucket
	return out, a.clean(err)
}

func (a *absBackend) CreateMultipartUpload(ctx context.Context, in s3response.CreateMultipartUploadInput) (s3response.InitiateMultipartUploadResult, error) {
	bucket := in.Bucket
	in.Bucket = a.ptr(bucket)
	out, err := a.posix.CreateMultipartUpload(ctx, in)
	if bucket != nil {
		out.Bucket = *bucket
	}
	return out, a.clean(named(err))
}

func (a *absBackend) UploadPart(ctx context.Context, in *awss3.UploadPartInput) (*awss3.UploadPartOutput, error) {
	c := *in
	c.Bucket = a.ptr(in.Bucket)
	if c.ContentLength != nil {
		release, ok := a.disk.claim(*c.ContentLength)
		if !ok {
			drain(c.Body)
			return nil, errFull()
		}
		defer release()
		c.Body = a.wholeBody(c.Body, *c.ContentLength, release)
	}
	out, err := a.posix.UploadPart(ctx, &c)
	return out, a.clean(named(err))
}

func (a *absBackend) CompleteMultipartUpload(ctx context.Context, in *awss3.CompleteMultipartUploadInput) (s3response.CompleteMultipartUploadResult, string, error) {
	c := *in
	c.Bucket = a.ptr(in.Bucket)
	if bytes := a.uploaded(ctx, &c); bytes > 0 {
		release, ok := a.disk.claim(bytes)
		if !ok {
			return s3response.CompleteMultipartUploadResult{}, "", errFull()
		}
		defer release()
	}
	out, version, err := a.posix.CompleteMultipartUpload(ctx, &c)
	out.Bucket = in.Bucket
	return out, version, a.clean(named(err))
}

// uploaded is how much the parts of an upload hold: they are copied together, and
// only then removed. 0 for one that is not there: the backend knows those that it
// completed before.
func (a *absBackend) uploaded(ctx context.Context, in *awss3.CompleteMultipartUploadInput) (bytes int64) {
	most := int32(multipartMaxParts)
	list, err := a.posix.ListParts(ctx, &awss3.ListPartsInput{
		Bucket: in.Bucket, Key: in.Key, UploadId: in.UploadId, MaxParts: &most,
	})
	if err != nil {
		return 0
	}
	for _, part := range list.Parts {
		bytes += part.Size
	}
	return bytes
}

func (a *absBackend) AbortMultipartUpload(ctx context.Context, in *awss3.AbortMultipartUploadInput) error {
	c := *in
	c.Bucket = a.ptr(in.Bucket)
	return a.clean(a.posix.AbortMultipartUpload(ctx, &c))
}

func (a *absBackend) ListMultipartUploads(ctx context.Context, in *awss3.ListMultipartUploadsInput) (s3response.ListMultipartUploadsResult, error) {
	c := *in
	c.Bucket = a.ptr(in.Bucket)
	out, err := a.posix.ListMultipartUploads(ctx, &c)
	if in.Bucket != nil {
		out.Bucket = *in.Bucket
	}
	return out, a.clean(err)
}

// absMeta is a sidecar store that is given absolute buckets and keeps them under
// their bare names, so that the data folder can be moved.
type absMeta struct {
	meta.MetadataStorer
	dir  string // of the sidecar
	root string // of the objects, absolute
}

func (m absMeta) bare(bucket string) string {
	if rest, ok := strings.CutPrefix(bucket, m.root+string(filepath.Separator)); ok {
		return rest
	}
	return bucket
}

func (m absMeta) RetrieveAttribute(f *os.File, bucket, object, attribute string) ([]byte, error) {
	return m.MetadataStorer.RetrieveAttribute(f, m.bare(bucket), object, attribute)
}

func (m absMeta) StoreAttribute(f *os.File, bucket, object, attribute string, value []byte) error {
	return m.MetadataStorer.StoreAttribute(f, m.bare(bucket), object, attribute, value)
}

func (m absMeta) DeleteAttribute(bucket, object, attribute string) error {
	return m.MetadataStorer.DeleteAttribute(m.bare(bucket), object, attribute)
}

func (m absMeta) ListAttributes(bucket, object string) ([]string, error) {
	return m.MetadataStorer.ListAttributes(m.bare(bucket), object)
}

// DeleteAttributes leaves empty folders to Clean, as DeleteObject does.
func (m absMeta) DeleteAttributes(bucket, object string) error {
	if object == "" {
		return m.MetadataStorer.DeleteAttributes(m.bare(bucket), object)
	}
	return os.RemoveAll(filepath.Join(m.dir, m.bare(bucket), object, "meta"))
}

func (m absMeta) RenameObject(bucket, oldObject, newObject string) error {
	return m.MetadataStorer.RenameObject(m.bare(bucket), oldObject, newObject)
}
