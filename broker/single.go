package broker

import (
	"context"
	"time"
)

// The calls below speak of one image, as clients of the GraphQL contract do.

// linkTTL is how long a link that reads an image works.
const linkTTL = 10 * time.Minute

// Find returns one image that is not removed, and makes the broker look if it is
// open.
func (s *Images) Find(ctx context.Context, by Caller, projectID, id string) (Image, error) {
	if _, err := s.open(ctx, by, ScopeRead, projectID); err != nil {
		return Image{}, err
	}
	img, err := s.one(ctx, projectID, id)
	switch {
	case err != nil:
		return Image{}, err
	case img.State == StateRemoved:
		return Image{}, errNoImage(id)
	case img.State.Open():
		err = s.Store.Touch(ctx, projectID)
	}
	return img, err
}

// Window returns a part of a project's images in the order of their
// registration, of one state or ("") of all but Removed, and whether there are
// more beyond the end that the window does not begin at.
func (s *Images) Window(ctx context.Context, by Caller, projectID string, state State, w Window) (list []Image, more bool, err error) {
	if _, err := s.open(ctx, by, ScopeRead, projectID); err != nil {
		return nil, false, err
	}
	if err := w.check(); err != nil {
		return nil, false, err
	}
	list, err = s.Store.WindowImages(ctx, projectID, state, w)
	if err != nil {
		return nil, false, err
	}
	list, more = cutWindow(list, w)
	for _, img := range list {
		if img.State.Open() {
			return list, more, s.Store.Touch(ctx, projectID)
		}
	}
	return list, more, nil
}

// StartOne is Start for a client that knows the image's id alone.
func (s *Images) StartOne(ctx context.Context, by Caller, id string) (Image, error) {
	return s.alone(ctx, by, id, s.Start)
}

// DoneOne is Done for a client that knows the image's id alone.
func (s *Images) DoneOne(ctx context.Context, by Caller, id string) (Image, error) {
	return s.alone(ctx, by, id, s.Done)
}

func (s *Images) alone(ctx context.Context, by Caller, id string, call func(context.Context, Caller, string, []string) ([]Registered, error)) (Image, error) {
	if err := by.Need(ScopeUpload); err != nil {
		return Image{}, err
	}
	if !IsID(id) {
		return Image{}, errNoImage(id)
	}
	projectID, err := s.Store.ProjectOfImage(ctx, id)
	switch {
	case CodeOf(err) == CodeNotFound:
		return Image{}, errNoSuchImage(id)
	case err != nil:
		return Image{}, err
	}
	answers, err := call(ctx, by, projectID, []string{id})
	switch {
	case CodeOf(err) == CodeNotFound: // the project is another's
		return Image{}, errNoSuchImage(id)
	case err != nil:
		return Image{}, err
	case CodeOf(answers[0].Err) == CodeNotFound:
		return Image{}, errNoSuchImage(id)
	}
	return answers[0].Image, answers[0].Err
}

// errNoSuchImage is the same for an image that does not exist and for another's.
func errNoSuchImage(id string) error {
	return Errorf(CodeNotFound, "there is no image %s", id)
}

// Link returns a URL that reads a Ready image for ten minutes, "" when it is not
// Ready, its object is no longer the proven one, or its bucket gives no links. The
// caller must have been given the image by this type.
func (s *Images) Link(ctx context.Context, by Caller, img Image) (string, error) {
	if err := by.Need(ScopeRead); err != nil {
		return "", err
	}
	b, ok := s.Places.now.Load().find(img.Bucket)
	if img.State != StateReady || !ok || b.Linker == nil {
		return "", nil
	}
	url, err := b.Linker.Link(ctx, img.Key(), img.ETag, img.Name, linkTTL)
	switch CodeOf(err) {
	case CodeChanged:
		// Overwritten since it was proven: it is to be judged again.
		if s.Hints != nil {
			_, err = s.Hints.Hint(ctx, img.Bucket, []Arrived{{Key: img.Key()}})
			return "", err
		}
		return "", nil
	case CodeNotFound:
		return "", nil
	}
	return url, err
}

// File returns a URL that reads a Ready image of a project for ten minutes.
// CodeConflict when it is not Ready, or its object is no longer the proven one;
// CodeNotSupported when its bucket gives no links.
func (s *Images) File(ctx context.Context, by Caller, projectID, id string) (string, error) {
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
		return "", Errorf(CodeConflict, "the image is %s; only one that is Ready is given out", img.State)
	}
	b, ok := s.Places.now.Load().find(img.Bucket)
	if !ok {
		return "", Errorf(CodeUnknownBucket, "the bucket %s is not configured any more; ask the operator", img.Bucket)
	}
	if b.Linker == nil {
		return "", Errorf(CodeNotSupported, "the bucket %s gives no links", b.Symbol)
	}
	url, err := s.Link(ctx, by, img)
	if err == nil && url == "" {
		return "", Errorf(CodeConflict, "the object in the bucket is no longer the proven one; it is judged again")
	}
	return url, err
}

// InvalidFile returns a URL that reads, for ten minutes, what an image was judged
// Invalid for, so that its owner can look at it before he accepts or removes it.
// What is Invalid is nobody else's to read: readers of a public tag get
// CodeConflict, as everybody does when nothing came or its object was deleted or
// overwritten since. CodeNotSupported when its bucket gives no links.
func (s *Images) InvalidFile(ctx context.Context, by Caller, projectID, id string) (string, error) {
	if _, err := s.open(ctx, by, ScopeRead, projectID); err != nil {
		return "", err
	}
	img, err := s.one(ctx, projectID, id)
	switch {
	case err != nil:
		return "", err
	case img.State == StateRemoved:
		return "", errNoImage(id)
	case by.Public():
		return "", Errorf(CodeConflict, "the image is %s; only one that is Ready is given out", img.State)
	case img.State != StateInvalid:
		return "", Errorf(CodeConflict, "the image is %s, not Invalid; ask for it without invalid=true", img.State)
	case img.ETag == "" || img.SweptAt != nil:
		return "", Errorf(CodeConflict, "there is no object of this image; register it again and upload it")
	}
	b, ok := s.Places.now.Load().find(img.Bucket)
	if !ok {
		return "", Errorf(CodeUnknownBucket, "the bucket %s is not configured any more; ask the operator", img.Bucket)
	}
	if b.Linker == nil {
		return "", Errorf(CodeNotSupported, "the bucket %s gives no links", b.Symbol)
	}
	url, err := b.Linker.Link(ctx, img.Key(), img.ETag, img.Name, linkTTL)
	if code := CodeOf(err); code == CodeChanged || code == CodeNotFound {
		return "", Errorf(CodeConflict, "the object in the bucket is no longer the one that was judged")
	}
	return url, err
}
