package broker

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Bounds of the copies of one batch: what can't be copied in time is uploaded.
const (
	copiesAtOnce = 16
	copyTime     = 20 * time.Second
)

// copyPresent brings the bytes of newly registered images from where the same
// owner has them already: Ready, in another project, in the same bucket. The
// bucket copies them itself, if the proven object is still there by its etag.
// images, which came from the store in the order of entries, are brought up to
// date; what can't be copied stays open and gets its grant.
//
// A key that is tied to a project knows of no other, and copies nothing.
func (s *Images) copyPresent(ctx context.Context, by Caller, project Project, place Bucket, images []Image, wanted map[SHA1]bool) {
	if place.Copier == nil || by.Key.ProjectID != "" || len(wanted) == 0 {
		return
	}
	var digests []SHA1
	at := map[SHA1]int{}
	for i, img := range images {
		if img.State.Open() && wanted[img.SHA1] {
			digests = append(digests, img.SHA1)
			at[img.SHA1] = i
		}
	}
	if len(digests) == 0 {
		return
	}
	sources, err := s.Store.ReadyElsewhere(ctx, project, place.Symbol, digests)
	if err != nil {
		s.logCopy("could not ask for files that the owner has already", err)
		return
	}
	// Declared sizes that differ are the client's mistake; the bytes will tell him.
	sources = slices.DeleteFunc(sources, func(src Image) bool {
		declared := images[at[src.ProvenSHA1]].SizeBytes
		return declared >= 0 && declared != src.ProvenBytes
	})
	ctx, cancel := context.WithTimeout(ctx, copyTime)
	defer cancel()
	var group sync.WaitGroup
	slots := make(chan struct{}, copiesAtOnce)
	for _, src := range sources {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			i := at[src.ProvenSHA1]
			if img, err := s.copyOne(ctx, by, place, src, images[i]); err == nil {
				images[i] = img
			} else {
				s.logCopy("could not copy a file that the owner has already; it is uploaded", err)
			}
		})
	}
	group.Wait()
}

// copyOne copies one image. The verdict of the source holds for the copy when
// the bucket says that it is the same: it copied only while the source had its
// proven etag, and the copy has the same etag and size. Where etags don't tell
// (encryption, uploads in parts) the copy is validated like any upload.
func (s *Images) copyOne(ctx context.Context, by Caller, place Bucket, src, img Image) (Image, error) {
	copied, err := place.Copier.Copy(ctx, src.Key(), src.ETag, img.Key())
	if err != nil {
		return Image{}, err
	}
	copied.Bucket, copied.ProjectID, copied.Filename = place.Symbol, img.ProjectID, img.Filename
	if src.Type != img.Type { // of what was declared, the facts tell only what differs
		src.Facts.Declared = ""
		if img.Type != src.Facts.Type {
			src.Facts.Declared = img.Type
		}
	}
	proven := copied.ETag == src.ETag && copied.SizeBytes == src.ProvenBytes
	if proven { // otherwise its own verdict brings one
		src.Facts.Thumb = s.copyThumb(ctx, place, src, img)
	}
	return s.Store.Copied(ctx, copied, src, proven, s.Now(), by)
}

// logCopy tells of a copy that failed. A source that changed or went is no fault.
func (s *Images) logCopy(what string, err error) {
	switch code := CodeOf(err); {
	case code == CodeChanged, code == CodeNotFound, s.Log == nil:
	default:
		s.Log.Warn(what, "err", err)
	}
}
