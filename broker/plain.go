package broker

import (
	"context"
	"net/netip"
	"net/url"
	"strings"
)

// PlainEntry asks to register one image for a client that can send nothing but
// the file: no headers, no size, perhaps no sha1.
type PlainEntry struct {
	Name string
	SHA1 string // hex, either case; "": not declared
	Type string // MIME; counts only where the name's extension says nothing
}

// PlainWant says which parts of the answer the client reads.
type PlainWant struct {
	Image bool // the image's record: it is made when there is none
	Grant bool // the right to upload: it is signed
}

// RegisterPlain registers one image in a bucket of that cloud, for clients of
// the GraphQL contract. It differs from Register so: the request is bound to
// nothing but its place, so that the validation alone finds other bytes; and
// what is already there is answered with the image and a request that works, for
// old scripts PUT without asking. What they put leads to nothing while the image
// stays as it is: its place is that of a further attempt.
//
// Without want.Image nothing is registered; a grant is then given for an image
// with that sha1 that is there.
func (s *Images) RegisterPlain(ctx context.Context, by Caller, projectID string, cloud Cloud, bucket string, client netip.Addr, e PlainEntry, want PlainWant) (Image, *Grant, error) {
	if _, err := s.open(ctx, by, ScopeUpload, projectID); err != nil {
		return Image{}, nil, err
	}
	place, err := s.placeIn(by, cloud, Target{Bucket: bucket, Grant: GrantRequest, Client: client})
	if err != nil {
		return Image{}, nil, err
	}
	entry, err := s.plainImage(e)
	if err != nil {
		return Image{}, nil, err
	}
	batch := s.batch(by, projectID, place, GrantRequest)
	var img Image
	if want.Image {
		entry.ID = NewID(batch.Now)
		batch.Images = []NewImage{entry}
		img, err = s.registerOne(ctx, batch)
	} else {
		img, err = s.present(ctx, projectID, entry.SHA1)
	}
	if err != nil || !want.Grant {
		return img, nil, err
	}
	key, err := s.plainKey(ctx, img, batch, want)
	if err != nil {
		return Image{}, nil, err
	}
	req, err := place.Signer.SignPut(ctx, key, Binding{SizeBytes: -1}, place.GrantTTL)
	if err != nil {
		return Image{}, nil, err
	}
	return img, &Grant{Kind: GrantRequest, Bucket: place.Symbol, Request: req}, nil
}

// placeIn is place for a bucket that has to be of a cloud.
func (s *Images) placeIn(by Caller, cloud Cloud, to Target) (Bucket, error) {
	b, ok := s.Places.now.Load().find(to.Bucket)
	if !ok || b.Cloud != cloud {
		return Bucket{}, Errorf(CodeUnknownBucket, "there is no %s bucket %.100q; getGeoIPInfo{nearestBuckets{bucket cloud}} lists the buckets and their clouds", cloud, to.Bucket)
	}
	b, _, err := s.place(by, to)
	return b, err
}

// plainImage checks one entry.
func (s *Images) plainImage(e PlainEntry) (NewImage, error) {
	if err := CheckName(e.Name); err != nil {
		return NewImage{}, err
	}
	n := NewImage{Name: e.Name, SizeBytes: -1, Type: TypeOf(e.Name)}
	if e.SHA1 != "" {
		var err error
		if n.SHA1, err = ParseSHA1(e.SHA1); err != nil {
			return NewImage{}, err
		}
	}
	if n.Type == unknownType && e.Type != "" {
		n.Type = e.Type
	}
	n.Ext = extOf(e.Name, n.Type)
	return n, nil
}

// registerOne registers a batch of one.
func (s *Images) registerOne(ctx context.Context, b RegisterBatch) (Image, error) {
	images, err := s.Store.Register(ctx, b)
	if err != nil {
		return Image{}, err
	}
	return images[0], nil
}

// present finds an image by its sha1 alone.
func (s *Images) present(ctx context.Context, projectID string, digest SHA1) (Image, error) {
	if !digest.IsZero() {
		images, err := s.Store.BySHA1(ctx, projectID, []SHA1{digest})
		if err != nil {
			return Image{}, err
		}
		if len(images) > 0 && images[0].State != StateInvalid {
			return images[0], nil
		}
	}
	return Image{}, Errorf(CodeInvalid, "ask for image { id } too: without it nothing is registered, and what is uploaded would be lost")
}

// plainKey is where the client may write: the image's key while it is open, the
// next attempt's when the image has its bytes.
func (s *Images) plainKey(ctx context.Context, img Image, batch RegisterBatch, want PlainWant) (string, error) {
	batch.Images = []NewImage{{ID: img.ID}}
	if img.State.Open() {
		if want.Image {
			return img.Key(), nil // registering has granted it
		}
		granted, err := s.Store.Regrant(ctx, batch)
		if err != nil || len(granted) > 0 {
			return img.Key(), err
		}
	}
	filename, ok, err := s.Store.Spare(ctx, batch)
	if err != nil {
		return "", err
	}
	if !ok {
		return "", Errorf(CodeConflict, "the image changed at this moment; ask again")
	}
	return img.ProjectID + "/" + filename, nil
}

// RegisterURL registers an image whose bytes the broker itself fetches, into the
// bucket nearest to client. What is already there is answered as it is. name may
// be "": then it is the last segment of the URL's path.
func (s *Images) RegisterURL(ctx context.Context, by Caller, projectID string, client netip.Addr, rawURL, name, digest string) (Image, error) {
	if _, err := s.open(ctx, by, ScopeUpload, projectID); err != nil {
		return Image{}, err
	}
	if s.URLs == nil {
		return Image{}, Errorf(CodeNotSupported, "this installation fetches no URLs; upload the file instead")
	}
	checked, err := s.URLs.Check(rawURL)
	if err != nil {
		return Image{}, err
	}
	if name == "" {
		name = lastSegment(checked)
	}
	entry, err := s.plainImage(PlainEntry{Name: name, SHA1: digest})
	if err != nil {
		return Image{}, err
	}
	place, _, err := s.place(by, Target{Client: client})
	if err != nil {
		return Image{}, err
	}
	batch := s.batch(by, projectID, place, GrantFetch)
	batch.FetchURL = checked
	entry.ID, entry.Start = NewID(batch.Now), true
	batch.Images = []NewImage{entry}
	return s.registerOne(ctx, batch)
}

// lastSegment is what a browser would save a URL as; "file" when its path names
// nothing that can be kept.
func lastSegment(rawURL string) string {
	if u, err := url.Parse(rawURL); err == nil {
		name := u.Path[strings.LastIndexByte(u.Path, '/')+1:]
		if CheckName(name) == nil {
			return name
		}
	}
	return "file"
}
