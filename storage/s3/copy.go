package s3

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/uploadbroker/uploadbroker/storage"
	"github.com/uploadbroker/uploadbroker/storage/presign"
)

// Copy is CopyObject, which takes objects of up to 5 GiB, and then HeadObject,
// since the answer lacks the size. When another write to the same key comes
// between the two, the object is described that lies there now.
func (b *Bucket) Copy(ctx context.Context, from, ifMatch, to string) (storage.Object, error) {
	_, err := b.client.CopyObject(ctx, &awss3.CopyObjectInput{
		Bucket: &b.name, Key: &to,
		// The header carries a URL's path and version, and the SDK sends it as
		// it is given (Amazon S3 API Reference, CopyObject, x-amz-copy-source).
		CopySource:        aws.String(string(presign.AppendPath([]byte(b.name+"/"), from))),
		CopySourceIfMatch: aws.String(`"` + ifMatch + `"`),
		MetadataDirective: types.MetadataDirectiveCopy,
	})
	if err != nil {
		return storage.Object{}, err
	}
	return b.Stat(ctx, to)
}
