package broker

import (
	"context"
	"net/netip"
	"time"
)

// Limits bound what a caller may ask for.
type Limits struct {
	MaxObject int64 // bytes of one object
	MaxBatch  int   // entries of one batch
}

// Bucket is a configured place as the rules need it.
type Bucket struct {
	Symbol   string
	Display  string
	Cloud    Cloud
	GrantTTL time.Duration
	Drain    bool      // no new grants
	Signer   PutSigner // nil: can't presign
}

// PutSigner presigns the PUT of one object.
type PutSigner interface {
	SignPut(ctx context.Context, key string, bind Binding, ttl time.Duration) (Request, error)
}

// Placer orders buckets for a client, nearest first.
type Placer interface {
	Nearest(client netip.Addr, buckets []Bucket) []Bucket
}

// ConfiguredOrder is the Placer that keeps the operator's order.
type ConfiguredOrder struct{}

// Nearest returns the buckets as they are.
func (ConfiguredOrder) Nearest(_ netip.Addr, buckets []Bucket) []Bucket { return buckets }

// NewImage is an entry that was found sound, ready to be stored.
type NewImage struct {
	ID        string
	Name      string
	SHA1      SHA1
	SizeBytes int64
	Type      string
	Ext       string // without dot, may be ""
	Start     bool
}

// RegisterBatch is a batch for the store: entries with distinct sha1, all for
// one bucket.
type RegisterBatch struct {
	ProjectID string
	Bucket    string
	Kind      GrantKind
	ExpiresAt time.Time
	Now       time.Time
	By        Caller
	Images    []NewImage
}

// ImageStore keeps images. Every change is a compare-and-set as the table of
// Moves says, and writes the audit in the same transaction.
type ImageStore interface {
	Project(ctx context.Context, id string) (Project, error)
	// Register performs EventRegister (and EventStart where asked) for each
	// entry and gives the open ones a grant. Images come in the order of the
	// entries; those Uploaded or Ready are as they were, without a grant.
	// CodeNotFound when the project was removed meanwhile.
	Register(ctx context.Context, b RegisterBatch) ([]Image, error)
	// BySHA1 returns the project's images with these declared digests, removed
	// ones left out, in any order.
	BySHA1(ctx context.Context, projectID string, digests []SHA1) ([]Image, error)
	// ByID returns the project's images of these ids, removed ones included, in
	// any order.
	ByID(ctx context.Context, projectID string, ids []string) ([]Image, error)
	// Start performs EventStart.
	Start(ctx context.Context, projectID string, ids []string, now time.Time, by Caller) error
	// Done writes the audit and makes the watches of the images due at once.
	Done(ctx context.Context, projectID string, ids []string, now time.Time, by Caller) error
	// Regrant adds a grant to those of the images that are still open and
	// returns their ids.
	Regrant(ctx context.Context, b RegisterBatch) ([]string, error)
	// Touch makes the project's awake watches due, at most once a second each.
	Touch(ctx context.Context, projectID string) error
	// ListImages returns a page by id, of one state or of all but Removed.
	ListImages(ctx context.Context, projectID string, state State, page Page) ([]Image, error)
	// History returns an image's story, oldest first.
	History(ctx context.Context, imageID string) ([]HistoryEntry, error)
	// RemoveImage performs EventRemove.
	RemoveImage(ctx context.Context, projectID, id string, now, undoUntil time.Time, by Caller) error
	// UndoRemoveImage performs EventUndo. CodeUndoEnded after its time,
	// CodeConflict when another image with its sha1 has come since.
	UndoRemoveImage(ctx context.Context, projectID, id string, now time.Time, by Caller) error
}

// Images holds the rules of images, as callers meet them.
type Images struct {
	Store   ImageStore
	Buckets []Bucket // in the configured order
	Placer  Placer
	Limits  Limits
	Now     func() time.Time
}

// Nearest lists the buckets that the caller may be granted, nearest first.
func (s *Images) Nearest(by Caller, client netip.Addr) ([]Bucket, error) {
	if !by.Known() {
		return nil, by.Need(ScopeRead)
	}
	var open []Bucket
	for _, b := range s.Buckets {
		if !b.Drain && by.MayUse(b.Cloud) {
			open = append(open, b)
		}
	}
	return s.Placer.Nearest(client, open), nil
}

// place chooses the bucket of a batch: the one asked for, else the nearest.
func (s *Images) place(by Caller, client netip.Addr, symbol string) (Bucket, error) {
	near, err := s.Nearest(by, client)
	if err != nil {
		return Bucket{}, err
	}
	if symbol == "" {
		for _, b := range near {
			if b.Signer != nil {
				return b, nil
			}
		}
		return Bucket{}, Errorf(CodeNoBucket, "no bucket takes uploads by this key; ask the operator")
	}
	for _, b := range s.Buckets {
		switch {
		case b.Symbol != symbol:
		case !by.MayUse(b.Cloud):
			return Bucket{}, Errorf(CodeNotAllowed, "this key is pinned to other clouds than %s", b.Cloud)
		case b.Drain:
			return Bucket{}, Errorf(CodeNoBucket, "the bucket %s takes no new uploads; leave the bucket out to get the nearest", symbol)
		case b.Signer == nil:
			return Bucket{}, Errorf(CodeNotSupported, "the bucket %s gives no presigned requests", symbol)
		default:
			return b, nil
		}
	}
	return Bucket{}, Errorf(CodeUnknownBucket, "there is no bucket %q; GET /v1/buckets/nearest lists them", symbol)
}

// open returns the project for a call that needs a scope.
func (s *Images) open(ctx context.Context, by Caller, scope Scope, projectID string) (Project, error) {
	if err := by.Need(scope); err != nil {
		return Project{}, err
	}
	return findProject(ctx, s.Store, by, projectID)
}

// checkBatch refuses batches over the limit.
func (s *Images) checkBatch(n int) error {
	if n > s.Limits.MaxBatch {
		return Errorf(CodeBatchTooLarge, "the batch has %d entries; %d are the most, send several", n, s.Limits.MaxBatch)
	}
	return nil
}

// Get returns one image with its history, and makes the broker look if it is open.
func (s *Images) Get(ctx context.Context, by Caller, projectID, id string) (Image, []HistoryEntry, error) {
	if _, err := s.open(ctx, by, ScopeRead, projectID); err != nil {
		return Image{}, nil, err
	}
	img, err := s.one(ctx, projectID, id)
	if err != nil {
		return Image{}, nil, err
	}
	if img.State.Open() {
		if err := s.Store.Touch(ctx, projectID); err != nil {
			return Image{}, nil, err
		}
	}
	history, err := s.Store.History(ctx, id)
	return img, history, err
}

// List returns a page of images, of one state or ("") of all but Removed, and
// makes the broker look if any is open.
func (s *Images) List(ctx context.Context, by Caller, projectID string, state State, page Page) ([]Image, error) {
	if _, err := s.open(ctx, by, ScopeRead, projectID); err != nil {
		return nil, err
	}
	images, err := s.Store.ListImages(ctx, projectID, state, page)
	if err != nil {
		return nil, err
	}
	for _, img := range images {
		if img.State.Open() {
			return images, s.Store.Touch(ctx, projectID)
		}
	}
	return images, nil
}

// Remove hides an image; Undo takes it back for ten minutes, then its object is
// deleted. Removing it again is no error.
func (s *Images) Remove(ctx context.Context, by Caller, projectID, id string) (Image, error) {
	if _, err := s.open(ctx, by, ScopeManage, projectID); err != nil {
		return Image{}, err
	}
	if _, err := s.one(ctx, projectID, id); err != nil {
		return Image{}, err
	}
	now := s.Now()
	if err := s.Store.RemoveImage(ctx, projectID, id, now, now.Add(UndoWindow), by); err != nil {
		return Image{}, err
	}
	return s.one(ctx, projectID, id)
}

// Undo takes a removal back. An image that is not removed stays as it is.
func (s *Images) Undo(ctx context.Context, by Caller, projectID, id string) (Image, error) {
	if _, err := s.open(ctx, by, ScopeManage, projectID); err != nil {
		return Image{}, err
	}
	if _, err := s.one(ctx, projectID, id); err != nil {
		return Image{}, err
	}
	if err := s.Store.UndoRemoveImage(ctx, projectID, id, s.Now(), by); err != nil {
		return Image{}, err
	}
	return s.one(ctx, projectID, id)
}

func (s *Images) one(ctx context.Context, projectID, id string) (Image, error) {
	if !IsID(id) {
		return Image{}, errNoImage(id)
	}
	found, err := s.Store.ByID(ctx, projectID, []string{id})
	if err != nil {
		return Image{}, err
	}
	if len(found) == 0 {
		return Image{}, errNoImage(id)
	}
	return found[0], nil
}

func errNoImage(id string) error {
	if !IsID(id) {
		return Errorf(CodeNotFound, "there is no such image; an image's id has %d characters", idLen)
	}
	return Errorf(CodeNotFound, "there is no image %s in this project", id)
}
