package broker

import (
	"context"
	"log/slog"
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
	Symbol    string
	Display   string
	Cloud     Cloud
	GrantTTL  time.Duration
	Drain     bool                            // no new grants
	Location  *Location                       // nil: not known
	Countries CountryRules                    // to whom it is offered
	Signer    PutSigner                       // nil: can't presign
	Sessions  Sessioner                       // nil: gives no sessions
	Linker    Linker                          // nil: gives no links
	Copier    Copier                          // nil: can't copy inside itself
	Reader    ObjectReader                    // nil: its objects are not read for others
	Receiver  ObjectReceiver                  // nil: takes nothing that passes through the broker
	Free      func() (bytes int64, err error) // of the disk that it is on; nil: it has no bound that is known
	Events    EventRules
}

// Gives reports whether the bucket gives grants of a kind; of "", any that clients
// use.
func (b Bucket) Gives(kind GrantKind) bool {
	switch kind {
	case GrantRequest:
		return b.Signer != nil
	case GrantSession:
		return b.Sessions != nil
	}
	return b.Signer != nil || b.Sessions != nil
}

// usual is the kind of grant that the bucket gives to those who name none.
func (b Bucket) usual() GrantKind {
	if b.Sessions != nil {
		return GrantSession
	}
	return GrantRequest
}

// EventRules say whose word about arrivals in a bucket is taken.
type EventRules struct {
	Secret string // that a sender shows; "": one is made
	Topic  string // ARN of the SNS topic whose subscription is confirmed; "": none
}

// PutSigner presigns the PUT of one object.
type PutSigner interface {
	SignPut(ctx context.Context, key string, bind Binding, ttl time.Duration) (Request, error)
}

// Sessioner gives sessions that write below one prefix.
type Sessioner interface {
	// Session returns one that may write objects whose keys begin with prefix,
	// which ends in "/". It may have been given to others before, and lives for a
	// while yet.
	Session(ctx context.Context, prefix string) (CloudSession, error)
}

// Linker gives links that read one object.
type Linker interface {
	// Link looks at the object first: CodeChanged when its etag is another,
	// CodeNotFound when there is none. filename is what a browser saves it as.
	// The URL begins with "/" when the bucket is reached through the API's own
	// address.
	Link(ctx context.Context, key, etag, filename string, ttl time.Duration) (url string, err error)
}

// Copier copies an object inside its bucket, without its bytes passing here.
type Copier interface {
	// Copy copies the object from, if its etag is still this one (CodeChanged
	// otherwise; CodeNotFound when there is none), over whatever is at to. The
	// copy outlives a loss of power when Copy returns.
	Copy(ctx context.Context, from, etag, to string) (copied Seen, err error)
}

// Target says where a batch of uploads goes.
type Target struct {
	Bucket string     // its symbol; "": the nearest to Client that gives such grants
	Grant  GrantKind  // request or session; "": what the bucket gives by itself
	Client netip.Addr // where the files are
}

// NewImage is an entry that was found sound, ready to be stored.
type NewImage struct {
	ID        string
	Name      string
	SHA1      SHA1  // zero: none was declared, every registration is an image of its own
	SizeBytes int64 // negative: none was declared
	Type      string
	Ext       string // without dot, may be ""
	Start     bool
}

// RegisterBatch is a batch for the store: entries with distinct sha1 (or none),
// all for one bucket.
type RegisterBatch struct {
	ProjectID string
	Bucket    string
	Kind      GrantKind
	ExpiresAt time.Time
	Now       time.Time
	By        Caller
	Images    []NewImage
	FetchURL  string // of kind GrantFetch: what the job that fetches each image reads
}

// ImageStore keeps images. Every change is a compare-and-set as the table of
// Moves says, and writes the audit in the same transaction.
type ImageStore interface {
	StoryStore
	Project(ctx context.Context, id string) (Project, error)
	// Register performs EventRegister (and EventStart where asked) for each
	// entry and gives the open ones a grant. Images come in the order of the
	// entries; those Uploaded or Ready are as they were, without a grant.
	// CodeNotFound when the project was removed meanwhile.
	Register(ctx context.Context, b RegisterBatch) ([]Image, error)
	// Spare adds a grant, by the batch's bucket, kind and time, for the attempt
	// that an Uploaded or Ready image would have next, and returns that attempt's
	// file name. ok is false when the image is in another state by now.
	Spare(ctx context.Context, b RegisterBatch) (filename string, ok bool, err error)
	// ProjectOfImage finds the project of an image, removed or not. CodeNotFound.
	ProjectOfImage(ctx context.Context, id string) (projectID string, err error)
	// ReadyElsewhere returns images of the owner, in other projects of that kind
	// that are not removed, which are Ready in that bucket with these proven
	// digests and not by the owner's word: at most one for each digest.
	ReadyElsewhere(ctx context.Context, p Project, bucket string, digests []SHA1) ([]Image, error)
	// Copied performs EventSeen for what the broker itself has copied from a
	// proven image. With proven it carries that image's verdict over and performs
	// EventReady; otherwise the copy is validated like any upload. The image comes
	// back as it is then.
	Copied(ctx context.Context, copied Seen, from Image, proven bool, now time.Time, by Caller) (Image, error)
	// WindowImages returns a part of the project's images by id, of one state or
	// of all but Removed, in order; one more than asked for tells that there are more.
	WindowImages(ctx context.Context, projectID string, state State, w Window) ([]Image, error)
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
	// SessionGiven notes that somebody has a session for a project and a bucket
	// until a time, without a grant for an image of it: so long what is Ready there
	// may be overwritten. CodeNotFound when the project was removed meanwhile.
	SessionGiven(ctx context.Context, projectID, bucket string, until time.Time) error
	// History returns an image's story, oldest first.
	History(ctx context.Context, imageID string) ([]HistoryEntry, error)
	// RemoveImage performs EventRemove.
	RemoveImage(ctx context.Context, projectID, id string, now, undoUntil time.Time, by Caller) error
	// Accept performs EventAccept, if the image still is of that attempt and etag.
	// moved is false when it did not move.
	Accept(ctx context.Context, img Image, now time.Time, by Caller) (moved bool, err error)
	// UndoRemoveImage performs EventUndo. CodeUndoEnded after its time,
	// CodeConflict when another image with its sha1 has come since.
	UndoRemoveImage(ctx context.Context, projectID, id string, now time.Time, by Caller) error
}

// Images holds the rules of images, as callers meet them.
type Images struct {
	Store  ImageStore
	Places *Places
	Limits Limits
	URLs   URLChecker // nil: no URL is fetched
	Hints  *Arrivals  // told when an object is found changed; nil: nobody is
	Log    *slog.Logger
	Now    func() time.Time
}

// URLChecker knows which addresses a client may ask the broker to fetch.
type URLChecker interface {
	// Check returns the URL as it will be fetched, or CodeInvalid or
	// CodeNotAllowed when it can be told at once that it won't be.
	Check(raw string) (string, error)
}

// Nearest lists the buckets that a client is offered, nearest first: those that
// take grants, admit his country, and that the caller's key is not pinned away
// from. Nobody needs a key to ask.
func (s *Images) Nearest(by Caller, client netip.Addr) []Bucket {
	now := s.Places.now.Load()
	from := now.placer.Place(client)
	var open []Bucket
	for _, b := range now.buckets {
		if !b.Drain && by.MayUse(b.Cloud) && b.Countries.Admit(from.Country) {
			open = append(open, b)
		}
	}
	return now.placer.Order(from, open)
}

// place chooses the bucket of a batch: the one asked for, else the nearest. The
// target comes back with the bucket's symbol and the kind of its grants.
func (s *Images) place(by Caller, to Target) (Bucket, Target, error) {
	if to.Grant != "" && to.Grant != GrantRequest && to.Grant != GrantSession {
		return Bucket{}, to, Errorf(CodeInvalid, "there is no grant of kind %.100q; it is request or session", to.Grant)
	}
	b, err := s.bucketFor(by, to)
	if to.Bucket = b.Symbol; to.Grant == "" {
		to.Grant = b.usual()
	}
	return b, to, err
}

func (s *Images) bucketFor(by Caller, to Target) (Bucket, error) {
	if to.Bucket == "" {
		nearest := s.Nearest(by, to.Client)
		for _, b := range nearest {
			if b.Gives(to.Grant) {
				return b, nil
			}
		}
		if to.Grant != "" && len(nearest) > 0 {
			return Bucket{}, Errorf(CodeNotSupported, "no bucket near you gives grants of kind %s; leave the kind out", to.Grant)
		}
		return Bucket{}, Errorf(CodeNoBucket, "no bucket takes uploads by this key from where you are; ask the operator")
	}
	now := s.Places.now.Load()
	b, ok := now.find(to.Bucket)
	if !ok {
		return Bucket{}, Errorf(CodeUnknownBucket, "there is no bucket %.100q; GET /v1/buckets/nearest lists them", to.Bucket)
	}
	if !by.MayUse(b.Cloud) {
		return Bucket{}, Errorf(CodeNotAllowed, "this key is pinned to other clouds than %s", b.Cloud)
	}
	if b.Drain {
		return Bucket{}, Errorf(CodeNoBucket, "the bucket %s takes no new uploads; leave the bucket out to get the nearest", b.Symbol)
	}
	switch {
	case b.Gives(to.Grant):
	case to.Grant == GrantSession:
		return Bucket{}, Errorf(CodeNotSupported, "the bucket %s gives no sessions; ask for grants of kind request", b.Symbol)
	case b.Gives(GrantSession):
		return Bucket{}, Errorf(CodeNotSupported, "the bucket %s gives no presigned requests; ask for grants of kind session", b.Symbol)
	default:
		return Bucket{}, Errorf(CodeNotSupported, "the bucket %s gives no presigned requests", b.Symbol)
	}
	if b.Countries.Enforce {
		if country := now.placer.Place(to.Client).Country; !b.Countries.Admit(country) {
			return Bucket{}, Errorf(CodeNotAllowed, "the bucket %s takes no uploads from %s; leave the bucket out to get the nearest", b.Symbol, countryName(country))
		}
	}
	return b, nil
}

func countryName(country string) string {
	if country == "" {
		return "an unknown place"
	}
	return country
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
	if state == StateRemoved && by.Public() {
		return nil, Errorf(CodeNotAllowed, "what was removed is for the owner to see")
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
