package graphql

import (
	"context"
	"strings"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/api/graphql/schema"
	"github.com/uploadbroker/uploadbroker/broker"
)

type mutation struct{ *Face }

// digest takes a sha1 under either of its two names; "" means that none is given.
func digest(checksum, sha1sum *string) (string, error) {
	a, b := strings.ToLower(text(checksum)), strings.ToLower(text(sha1sum))
	switch {
	case a == "":
		return b, nil
	case b == "" || a == b:
		return a, nil
	}
	return "", broker.Errorf(broker.CodeInvalid, "checksum and sha1sum are two names of the file's sha1 and differ here; give one of them")
}

// HasImage answers null when the bytes are not there, which means: upload it.
func (m mutation) HasImage(ctx context.Context, pid string, checksum, sha1sum *string) (*schema.ProjectImage, error) {
	by, err := member(ctx)
	if err != nil {
		return nil, err
	}
	sum, err := digest(checksum, sha1sum)
	if err == nil && sum == "" {
		err = broker.Errorf(broker.CodeInvalidSHA1, "give the file's sha1 as checksum: 40 hexadecimal digits")
	}
	if err != nil {
		return nil, err
	}
	found, err := m.Images.Check(ctx, by, pid, []string{sum})
	switch {
	case err != nil:
		return nil, err
	case found[0].Err != nil:
		return nil, found[0].Err
	case found[0].Status != broker.CheckExists:
		return nil, nil
	}
	return asImage(*found[0].Image), nil
}

func (m mutation) UploadImageS3(ctx context.Context, pid, bucket, filename string, typ *schema.ImageType, checksum, sha1sum *string) (*schema.SignedImage, error) {
	return m.upload(ctx, broker.CloudS3, pid, bucket, filename, typ, checksum, sha1sum)
}

func (m mutation) UploadImageMinio(ctx context.Context, pid, bucket, filename string, typ *schema.ImageType, checksum, sha1sum *string) (*schema.SignedImage, error) {
	return m.upload(ctx, broker.CloudMinIO, pid, bucket, filename, typ, checksum, sha1sum)
}

// upload registers an image when the client reads it, and signs a URL when the
// client reads that.
func (m mutation) upload(ctx context.Context, cloud broker.Cloud, pid, bucket, filename string, typ *schema.ImageType, checksum, sha1sum *string) (*schema.SignedImage, error) {
	by, err := member(ctx)
	if err != nil {
		return nil, err
	}
	if err := anyBucket(cloud, bucket); err != nil {
		return nil, err
	}
	sum, err := digest(checksum, sha1sum)
	if err != nil {
		return nil, err
	}
	wants := asked(ctx)
	img, grant, err := m.Images.RegisterPlain(ctx, by, pid, cloud, bucket, api.Client(ctx),
		broker.PlainEntry{Name: filename, SHA1: sum, Type: mimeOf(typ)},
		broker.PlainWant{Image: wants["image"], Grant: wants["url"]})
	if err != nil {
		return nil, err
	}
	out := &schema.SignedImage{Image: asImage(img)}
	if grant != nil {
		url := api.Absolute(ctx, grant.Request.URL)
		out.URL = &url
	}
	return out, nil
}

// anyBucket refuses the member that stands for no bucket at all.
func anyBucket(cloud broker.Cloud, bucket string) error {
	if bucket == schema.None {
		return broker.Errorf(broker.CodeNoBucket, "there is no bucket of the cloud %s here; getGeoIPInfo { nearestBuckets { bucket cloud } } lists what there is", cloud)
	}
	return nil
}

// mimeOf is what the client says of the file; "" when it says nothing.
func mimeOf(typ *schema.ImageType) string {
	if typ == nil {
		return ""
	}
	switch *typ {
	case schema.ImageTypeJpeg:
		return "image/jpeg"
	case schema.ImageTypePng:
		return "image/png"
	case schema.ImageTypeTiff:
		return "image/tiff"
	}
	return ""
}

// UploadImageOss registers an image when the client reads it, and gives a session
// when the client reads that: some ask for it alone, again and again, and name no
// file then.
func (m mutation) UploadImageOss(ctx context.Context, pid, bucket, filename string, typ *schema.ImageType, checksum, sha1sum *string) (*schema.STSImage, error) {
	by, err := member(ctx)
	if err != nil {
		return nil, err
	}
	if err := anyBucket(broker.CloudOSS, bucket); err != nil {
		return nil, err
	}
	wants := asked(ctx)
	e := broker.PlainEntry{Name: filename, Type: mimeOf(typ)}
	if wants["image"] {
		if e.SHA1, err = digest(checksum, sha1sum); err != nil {
			return nil, err
		}
	}
	img, grant, err := m.Images.RegisterSession(ctx, by, pid, broker.CloudOSS, bucket, api.Client(ctx), e,
		broker.PlainWant{Image: wants["image"], Grant: wants["sts"]})
	if err != nil {
		return nil, err
	}
	out := &schema.STSImage{}
	if wants["image"] {
		out.Image = asImage(img)
	}
	if grant != nil {
		out.Sts = asSTS(grant.Session)
	}
	return out, nil
}

// asSTS gives a session its form.
func asSTS(s broker.CloudSession) *schema.Sts {
	return &schema.Sts{
		ID: s.ID, Secret: s.Secret, Token: s.Token, Bucket: s.Bucket, Endpoint: s.Endpoint,
		Expire: s.ExpiresAt.UTC().Format("2006-01-02T15:04:05Z"),
	}
}

func (m mutation) UploadImageURL(ctx context.Context, pid, url string, filename, checksum *string) (*schema.ProjectImage, error) {
	by, err := member(ctx)
	if err != nil {
		return nil, err
	}
	sum, err := digest(checksum, nil)
	if err != nil {
		return nil, err
	}
	name := ""
	if filename != nil {
		name = *filename
	}
	img, err := m.Images.RegisterURL(ctx, by, pid, api.Client(ctx), url, name, sum)
	if err != nil {
		return nil, err
	}
	return asImage(img), nil
}

func (m mutation) StartImageUpload(ctx context.Context, id string) (*schema.ProjectImage, error) {
	return m.one(ctx, id, m.Images.StartOne)
}

func (m mutation) DoneImageUpload(ctx context.Context, id string) (*schema.ProjectImage, error) {
	return m.one(ctx, id, m.Images.DoneOne)
}

func (m mutation) one(ctx context.Context, id string, call func(context.Context, broker.Caller, string) (broker.Image, error)) (*schema.ProjectImage, error) {
	by, err := member(ctx)
	if err != nil {
		return nil, err
	}
	img, err := call(ctx, by, id)
	if err != nil {
		return nil, err
	}
	return asImage(img), nil
}
