package broker

import (
	"context"
	"strings"
	"time"
)

// thumbPrefix is where the thumbnails lie in each bucket. The broker alone writes
// there: what it grants others lies below a project's id, which looks otherwise.
const thumbPrefix = "thumbs/"

const thumbExt = ".jpg"

// ThumbType is the content type of every thumbnail.
const ThumbType = "image/jpeg"

// ThumbPrefix is the beginning of the keys of a project's thumbnails; of "", of all.
func ThumbPrefix(projectID string) string {
	if projectID == "" {
		return thumbPrefix
	}
	return thumbPrefix + projectID + "/"
}

// ThumbKey is the key of an image's thumbnail, in the image's bucket.
func ThumbKey(projectID, imageID string) string {
	return ThumbPrefix(projectID) + imageID + thumbExt
}

// ParseThumbKey takes a key apart that begins as those of a project's thumbnails;
// imageID is "" where it is no thumbnail for all that.
func ParseThumbKey(key string) (projectID, imageID string, ok bool) {
	rest, ok := strings.CutPrefix(key, thumbPrefix)
	if !ok {
		return "", "", false
	}
	projectID, name, ok := strings.Cut(rest, "/")
	if !ok || !IsID(projectID) {
		return "", "", false
	}
	if id, ok := strings.CutSuffix(name, thumbExt); ok && IsID(id) {
		imageID = id
	}
	return projectID, imageID, true
}

// ThumbLinker gives links that read an object of the broker's own.
type ThumbLinker interface {
	// LinkOwn gives a link without looking at the object: nobody but the broker
	// writes there. The URL begins with "/" as Link's does.
	LinkOwn(ctx context.Context, key string, ttl time.Duration) (url string, err error)
}

// Thumbnail returns a URL that reads the image's thumbnail for ten minutes.
// CodeNoThumbnail when there is none, CodeNotSupported when its bucket gives no
// links.
func (s *Images) Thumbnail(ctx context.Context, by Caller, projectID, id string) (string, error) {
	if _, err := s.open(ctx, by, ScopeRead, projectID); err != nil {
		return "", err
	}
	img, err := s.one(ctx, projectID, id)
	switch {
	case err != nil:
		return "", err
	case img.State == StateRemoved:
		return "", errNoImage(id)
	case img.State != StateReady:
		return "", Errorf(CodeNoThumbnail, "the image is %s; only one that is Ready has a thumbnail", img.State)
	case img.Facts.Thumb == nil:
		return "", Errorf(CodeNoThumbnail, "no thumbnail was made of this image")
	}
	b, ok := s.Places.now.Load().find(img.Bucket)
	if !ok {
		return "", Errorf(CodeUnknownBucket, "the bucket %s is not configured any more; ask the operator", img.Bucket)
	}
	own, ok := b.Linker.(ThumbLinker)
	if !ok {
		return "", Errorf(CodeNotSupported, "the bucket %s gives no links", b.Symbol)
	}
	return own.LinkOwn(ctx, ThumbKey(img.ProjectID, img.ID), linkTTL)
}

// copyThumb brings the thumbnail of a proven image to its copy. What can't be copied
// is missing, and no reason to upload the image.
func (s *Images) copyThumb(ctx context.Context, place Bucket, src, img Image) *ThumbFacts {
	if src.Facts.Thumb == nil || src.Facts.Thumb.ETag == "" {
		return nil
	}
	thumb := *src.Facts.Thumb
	copied, err := place.Copier.Copy(ctx, ThumbKey(src.ProjectID, src.ID), thumb.ETag, ThumbKey(img.ProjectID, img.ID))
	if err != nil {
		s.logCopy("could not copy a thumbnail; the image has none", err)
		return nil
	}
	thumb.ETag = copied.ETag
	return &thumb
}
