package broker

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A tag is a project of kind files that is addressed by its name, unique in the
// installation. It comes to be with its first upload, or is made at the start where
// it takes files of anybody.

// TagPolicy says what an operator allows without a key.
type TagPolicy struct {
	Anonymous    []string // tags that take files of anybody; the first owner has them
	Public       []string // tags that anybody may read
	QuotaBytes   int64    // most bytes that a tag holds where one without a key adds to it; 0: no bound
	MinFreeBytes int64    // what uploads to tags leave free of the disk that they go to
}

// Tag is a tag's project with what was counted in it.
type Tag struct {
	Project
	Anonymous bool
	Public    bool
	Counts    Counts
	Bytes     int64 // of all its files
}

// TagBytes are the bytes of a tag's files.
type TagBytes struct {
	Shown int64
	Held  int64 // those too whose removal can be undone
}

// ReceivedFile is an object that the broker has put for somebody, with what was found
// as it came.
type ReceivedFile struct {
	ID        string // of the image, if it is a new one
	ProjectID string
	Name      string // another, with a number, is given where the tag has one of that name
	Type      string
	SHA1      SHA1
	Seen      Seen
	Anonymous bool
	Client    netip.Addr // that sent it
	First     bool       // of the tag, which ReserveTag keeps ProjectID for
	Gone      string     // the file name of an object that is not there, though its image is Uploaded; "": none
	Now       time.Time
	By        Caller // the zero Caller: nobody showed a key
}

// TagStore keeps tags.
type TagStore interface {
	projectFinder
	// TagByName finds a tag that is not removed. CodeNotFound.
	TagByName(ctx context.Context, name string) (Project, error)
	// ListTags returns those of an owner ("" for nobody), of which only onlyID where
	// it is not "", and the named public ones, newest first, after a page's id.
	ListTags(ctx context.Context, ownerID, onlyID string, public []string, page Page) ([]Project, error)
	// CountImagesOf counts by state in several projects.
	CountImagesOf(ctx context.Context, projectIDs []string) (map[string]Counts, error)
	// BytesOfTags sums up in several projects; one without files may have no entry.
	BytesOfTags(ctx context.Context, projectIDs []string) (map[string]TagBytes, error)
	// FirstOwner returns the oldest owner. CodeNotFound when there is none.
	FirstOwner(ctx context.Context) (Owner, error)
	// CreateProject adds a tag and writes the audit. CodeConflict when there is one of
	// its name.
	CreateProject(ctx context.Context, p Project, by Caller) error
	// ReserveTag keeps an id for a tag that comes to be with its first file. Until then
	// nobody sees it; what is left of it at the time until goes as a removed project
	// does, with all that lies below its prefix.
	ReserveTag(ctx context.Context, p Project, until time.Time) error
	// ReleaseTag forgets a tag that was reserved and has not come to be. None is no
	// error.
	ReleaseTag(ctx context.Context, id string) error
	// ReceiveFile makes an image of what was put, Uploaded, with the audit and the job
	// that judges it; and of a reserved tag the tag. kept is false when the tag has
	// these bytes already: then the image is the one that has them, and the object
	// serves nobody. CodeNotFound when the tag was removed meanwhile, CodeConflict when
	// a reserved one has come to be by another file. After any other error the image may
	// have been made.
	ReceiveFile(ctx context.Context, f ReceivedFile) (img Image, kept bool, err error)
	// ReceivedAs waits for what ReceiveFile left under way and finds the image that an
	// object of this name was kept as. CodeNotFound: none, and none will be.
	ReceivedAs(ctx context.Context, projectID, filename string) (Image, error)
}

// ObjectReceiver takes objects that pass through the broker.
type ObjectReceiver interface {
	// Receive streams body into a new object; on an error nothing is stored.
	// sizeBytes is negative when it is not known. The object outlives a loss of
	// power when Receive returns. CodeInsufficientStorage when there is no room.
	Receive(ctx context.Context, key, contentType string, sizeBytes int64, body io.Reader) (Seen, error)
	// Holds reports whether an object is there and has this ETag.
	Holds(ctx context.Context, key, etag string) (bool, error)
	// Discard removes an object; none there is no error.
	Discard(ctx context.Context, key string) error
}

// Tags holds the rules of tags.
type Tags struct {
	Store  TagStore
	Images *Images // its places and limits are those of tags, too
	Zips   *Zips
	Policy TagPolicy
	Log    *slog.Logger
	Now    func() time.Time

	rooms tagRooms // by the tags' names
}

// CheckTagName refuses names that are no good in an address or as a file's name:
// letters, digits, "-", "_" and "." in any script, a letter or a digit first, 100
// bytes at most, not ending in ".zip", by which the zip of a tag is asked for.
func CheckTagName(name string) error {
	switch {
	case name == "":
		return Errorf(CodeInvalidName, "name a tag: /upload/TAG/FILENAME")
	case len(name) > maxTagBytes:
		return Errorf(CodeInvalidName, "the tag's name has %d bytes; %d are the most", len(name), maxTagBytes)
	case !utf8.ValidString(name):
		return Errorf(CodeInvalidName, "the tag's name is not valid UTF-8")
	case strings.HasSuffix(strings.ToLower(name), ".zip"):
		return Errorf(CodeInvalidName, "a tag's name can't end in .zip")
	}
	for i, r := range name {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || i > 0 && (unicode.IsMark(r) || strings.ContainsRune("-_.", r)) {
			continue
		}
		return Errorf(CodeInvalidName, "a tag's name has letters, digits and - _ . in it, and begins with a letter or a digit")
	}
	return nil
}

const maxTagBytes = 100

// Prepare makes the tags that take files of anybody, so that their pages are there
// before the first file. Repeating it is safe.
func (s *Tags) Prepare(ctx context.Context) error {
	for _, name := range s.Policy.Anonymous {
		if err := s.prepare(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes a tag that takes files of anybody, unless it is there, be it by
// another who did so at the same moment. It is the first owner's.
func (s *Tags) prepare(ctx context.Context, name string) error {
	_, err := s.Store.TagByName(ctx, name)
	if CodeOf(err) != CodeNotFound {
		return err
	}
	owner, err := s.Store.FirstOwner(ctx)
	if err != nil {
		return err
	}
	err = s.Store.CreateProject(ctx, s.newTag(name, owner.ID), Caller{})
	if CodeOf(err) == CodeConflict {
		return nil
	}
	return err
}

func (s *Tags) newTag(name, ownerID string) Project {
	now := s.Now()
	return Project{ID: NewID(now), OwnerID: ownerID, Name: name, Kind: KindFiles, Tag: name, CreatedAt: now}
}

// Reader decides who may read a tag: its owner by a key with the scope read, and
// anybody where it is public. It returns its project and who to be when reading it
// (images, thumbnails, the zip; nothing that changes anything): the caller, or a
// reader of this project alone.
//
// A tag that is both public and anybody's is there for whoever asks, be it that its owner
// has removed it: an empty one then, which its page is shown of and files are sent to.
//
// Who shows no key learns of a tag that is not public nothing, CodeUnauthenticated,
// also when there is none; others get CodeNotFound for those that are not theirs.
func (s *Tags) Reader(ctx context.Context, by Caller, name string) (Project, Caller, error) {
	if CheckTagName(name) != nil {
		return Project{}, Caller{}, errNoTag(name)
	}
	// Go and the database don't fold all letters alike.
	if at := slices.IndexFunc(s.Policy.Anonymous, sameTag(name)); at >= 0 {
		name = s.Policy.Anonymous[at]
	}
	p, err := s.Store.TagByName(ctx, name)
	if CodeOf(err) == CodeNotFound && s.anonymous(name) && s.public(name) {
		if err = s.prepare(ctx, name); err == nil {
			p, err = s.Store.TagByName(ctx, name)
		}
	}
	if err != nil && CodeOf(err) != CodeNotFound {
		return Project{}, Caller{}, err
	}
	return s.readerOf(by, p, name)
}

// ReaderOf is Reader for who knows the project's id. For what is no tag it is
// CodeNotFound, or for one without a key CodeUnauthenticated: the rule of projects
// decides there.
func (s *Tags) ReaderOf(ctx context.Context, by Caller, projectID string) (Project, Caller, error) {
	if !IsID(projectID) {
		return Project{}, Caller{}, errNoProject(projectID)
	}
	p, err := s.Store.Project(ctx, projectID)
	switch {
	case err != nil && CodeOf(err) != CodeNotFound:
		return Project{}, Caller{}, err
	case err != nil || p.Removed() || p.Tag == "":
		p = Project{}
	}
	return s.readerOf(by, p, projectID)
}

// readerOf decides about a project, the zero one where there is none.
func (s *Tags) readerOf(by Caller, p Project, asked string) (Project, Caller, error) {
	switch {
	case p.ID != "" && by.Can(ScopeRead) && by.MaySee(p.OwnerID, p.ID):
		return p, by, nil
	case p.ID != "" && s.public(p.Tag):
		return p, publicReader(p), nil
	}
	if err := by.Need(ScopeRead); err != nil {
		return Project{}, Caller{}, err
	}
	return Project{}, Caller{}, errNoTag(asked)
}

// publicKey stands for the key of those who need none.
const publicKey = "public"

// Public reports whether the caller is nobody in particular, who reads what is public.
func (c Caller) Public() bool { return c.Key.ID == publicKey }

// publicReader may see one project and change nothing.
func publicReader(p Project) Caller {
	return Caller{Owner: Owner{ID: p.OwnerID}, Key: Key{ID: publicKey, OwnerID: p.OwnerID, Scopes: []Scope{ScopeRead}, ProjectID: p.ID}}
}

func (s *Tags) public(name string) bool { return slices.ContainsFunc(s.Policy.Public, sameTag(name)) }

func (s *Tags) anonymous(name string) bool {
	return slices.ContainsFunc(s.Policy.Anonymous, sameTag(name))
}

// sameTag finds the tag of a name, however it is written: Inbox is the inbox. It is shown
// as the configuration has it, or its first upload.
func sameTag(name string) func(string) bool {
	return func(other string) bool { return strings.EqualFold(name, other) }
}

func errNoTag(name string) error {
	return Errorf(CodeNotFound, "there is no tag %.100q", name)
}

// List returns the caller's tags and the public ones, newest first, with what is in
// them. One without a key, or without the scope read, gets the public ones.
func (s *Tags) List(ctx context.Context, by Caller, page Page) ([]Tag, error) {
	ownerID := ""
	if by.Can(ScopeRead) {
		ownerID = by.Owner.ID
	}
	for _, name := range s.Policy.Anonymous {
		if !s.public(name) {
			continue
		}
		if err := s.prepare(ctx, name); err != nil && CodeOf(err) != CodeNotFound { // there is no owner yet
			return nil, err
		}
	}
	list, err := s.Store.ListTags(ctx, ownerID, by.Key.ProjectID, s.Policy.Public, page)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return s.counted(ctx, list)
}

// Get returns one tag for whom Reader lets in.
func (s *Tags) Get(ctx context.Context, by Caller, name string) (Tag, error) {
	p, _, err := s.Reader(ctx, by, name)
	if err != nil {
		return Tag{}, err
	}
	tags, err := s.counted(ctx, []Project{p})
	if err != nil {
		return Tag{}, err
	}
	return tags[0], nil
}

func (s *Tags) counted(ctx context.Context, list []Project) ([]Tag, error) {
	ids := make([]string, len(list))
	for i, p := range list {
		ids[i] = p.ID
	}
	counts, err := s.Store.CountImagesOf(ctx, ids)
	if err != nil {
		return nil, err
	}
	bytes, err := s.Store.BytesOfTags(ctx, ids)
	if err != nil {
		return nil, err
	}
	tags := make([]Tag, len(list))
	for i, p := range list {
		tags[i] = Tag{
			Project: p, Anonymous: s.anonymous(p.Tag), Public: s.public(p.Tag), Counts: counts[p.ID], Bytes: bytes[p.ID].Shown,
		}
	}
	return tags, nil
}

// Zip gives the zip of a tag's files that are Ready, for whom Reader lets in. Those
// without a key may read so many at a time from each address.
func (s *Tags) Zip(ctx context.Context, by Caller, client netip.Addr, name string) (*Zip, error) {
	p, reader, err := s.Reader(ctx, by, name)
	if err != nil {
		return nil, err
	}
	who := "key " + reader.Key.ID
	if !by.Known() || reader.Key.ID != by.Key.ID {
		who = "address " + client.String()
	}
	return s.Zips.open(ctx, who, p, ZipTree, s.Zips.Store.ReadyEntries(ctx, p.ID))
}

// File finds a file of a tag for whom Reader lets in, with a link that reads it for
// ten minutes; "" where its bucket gives none, and the bytes are to be passed on.
// CodeConflict when it is not Ready.
func (s *Tags) File(ctx context.Context, by Caller, name, id string) (Image, string, error) {
	p, reader, err := s.Reader(ctx, by, name)
	if err != nil {
		return Image{}, "", err
	}
	img, err := s.Images.Find(ctx, reader, p.ID, id)
	if err != nil {
		return Image{}, "", err
	}
	switch img.State {
	case StateReady:
	case StateInvalid:
		return Image{}, "", Errorf(CodeConflict, "the file is damaged, and was not accepted as it is: %s", img.Reasons[0])
	case StatePending, StateUploading:
		return Image{}, "", Errorf(CodeConflict, "the file's bytes have not come yet")
	default:
		e := Errorf(CodeConflict, "the file is still being checked; try again in a moment")
		e.RetryAfter = 2 * time.Second
		return Image{}, "", e
	}
	b, ok := s.Images.Places.now.Load().find(img.Bucket)
	switch {
	case !ok:
		return Image{}, "", Errorf(CodeUnknownBucket, "the bucket %s is not configured any more; ask the operator", img.Bucket)
	case b.Linker == nil:
		return img, "", nil
	}
	url, err := s.Images.Link(ctx, reader, img)
	if err == nil && url == "" {
		err = Errorf(CodeChanged, "the file is no longer the one that was checked; it is checked again")
	}
	return img, url, err
}

// Open reads a file that File found; the caller closes it.
func (s *Tags) Open(ctx context.Context, img Image) (io.ReadCloser, error) {
	return s.Images.Places.Open(ctx, ZipEntry{Bucket: img.Bucket, Key: img.Key(), ETag: img.ETag, SizeBytes: img.ProvenBytes}, 0)
}
