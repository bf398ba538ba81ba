package broker

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"io"
	"iter"
	"sync"
	"time"
)

// ZipEntry is an image as it goes into a zip: its user's name for it, and the
// object that was proven.
type ZipEntry struct {
	Name      string    // the user's, may hold sub-folders
	Type      string    // the true MIME type, else the declared one; "" when neither is known
	At        time.Time // when the picture was taken, else registered
	SizeBytes int64
	CRC32     uint32 // IEEE, of all bytes
	Bucket    string
	Key       string
	ETag      string
}

// ZipLayout says how a zip names its files.
type ZipLayout int

// The layouts.
const (
	ZipTree ZipLayout = iota // the users' names with their folders, made safe for every file system
	ZipFlat                  // for engines: no folders, [A-Za-z0-9._-], the ending of the true type
)

// Archive is a zip whose every byte is known before its first is read: it may be
// read from anywhere. What can't be read as it was proven is an error, never
// other bytes. It is used by one reader at a time and must be closed.
type Archive interface {
	io.ReadSeekCloser
	// SizeBytes is the whole zip's.
	SizeBytes() int64
	// Entries is how many files are in it.
	Entries() int
	// ETag is the same for the same bytes only; it has no quotes.
	ETag() string
	// Err is what a Read has failed by: nil when none has.
	Err() error
}

// Archiver lays zips out.
type Archiver interface {
	// Archive goes through the entries once; reads of the archive end with ctx.
	Archive(ctx context.Context, layout ZipLayout, entries iter.Seq2[ZipEntry, error]) (Archive, error)
}

// ZipLink reads a project's zip until a time. It dies with its key.
type ZipLink struct {
	ProjectID string
	KeyID     string
	CreatedAt time.Time
	ExpiresAt time.Time
}

// ZipTask is what decides about a task's zip.
type ZipTask struct {
	Project Project
	State   TaskState
	Token   string
}

// ZipStore is what Zips needs of a store.
type ZipStore interface {
	projectFinder
	// ReadyEntries goes through a project's Ready images by their ids, as they are
	// at one moment.
	ReadyEntries(ctx context.Context, projectID string) iter.Seq2[ZipEntry, error]
	// TaskEntries goes through the images of a task by their ids.
	TaskEntries(ctx context.Context, taskID string) iter.Seq2[ZipEntry, error]
	// ZipTask finds a task. CodeNotFound.
	ZipTask(ctx context.Context, taskID string) (ZipTask, error)
	// CreateLink keeps a link and writes the audit; links that are over go.
	CreateLink(ctx context.Context, l ZipLink, hash [32]byte, by Caller) error
	// LinkByHash finds a link that is not over, and whose key made it. CodeNotFound.
	LinkByHash(ctx context.Context, hash [32]byte, now time.Time) (ZipLink, Caller, error)
}

// Zips holds the rules of zips: who may read which.
type Zips struct {
	Store    ZipStore
	Archives Archiver
	Now      func() time.Time

	mu    sync.Mutex
	under map[string]int // zips that are read now, by who reads them
}

// How long a link may live.
const (
	MinZipLinkTTL     = time.Minute
	MaxZipLinkTTL     = 7 * 24 * time.Hour
	DefaultZipLinkTTL = time.Hour
)

// maxZips is how many zips may be read at the same time with one key, link or task, in
// this process: download managers read parts beside each other.
const maxZips = 32

// Zip is an archive with the project that it is of. It must be closed.
type Zip struct {
	Archive
	Project Project

	once    sync.Once
	release func()
}

// Close ends its reads.
func (z *Zip) Close() error {
	err := z.Archive.Close()
	z.once.Do(z.release)
	return err
}

// OfProject gives the zip of the project's Ready images. CodeNoReadyImage when
// there is none, CodeTooManyRequests when the caller reads too many at once.
func (s *Zips) OfProject(ctx context.Context, by Caller, projectID string) (*Zip, error) {
	if err := by.Need(ScopeRead); err != nil {
		return nil, err
	}
	p, err := findProject(ctx, s.Store, by, projectID)
	if err != nil {
		return nil, err
	}
	return s.open(ctx, "key "+by.Key.ID, p, ZipTree, s.Store.ReadyEntries(ctx, p.ID))
}

// Link makes a link that reads the project's zip for ttl (0: an hour) without a
// key: whoever knows it can. The token is kept nowhere.
func (s *Zips) Link(ctx context.Context, by Caller, projectID string, ttl time.Duration) (ZipLink, string, error) {
	if err := by.Need(ScopeRead); err != nil {
		return ZipLink{}, "", err
	}
	p, err := findProject(ctx, s.Store, by, projectID)
	if err != nil {
		return ZipLink{}, "", err
	}
	switch {
	case ttl == 0:
		ttl = DefaultZipLinkTTL
	case ttl < MinZipLinkTTL || ttl > MaxZipLinkTTL:
		return ZipLink{}, "", Errorf(CodeInvalid, "a link lives for %d seconds to %d", int(MinZipLinkTTL.Seconds()), int(MaxZipLinkTTL.Seconds()))
	}
	now := s.Now()
	l := ZipLink{ProjectID: p.ID, KeyID: by.Key.ID, CreatedAt: now, ExpiresAt: now.Add(ttl)}
	if end := by.Key.ExpiresAt; end != nil && end.Before(l.ExpiresAt) {
		l.ExpiresAt = *end // it would not work for longer
	}
	var secret [32]byte
	rand.Read(secret[:]) // never fails (Go 1.24 and later)
	token := base64.RawURLEncoding.EncodeToString(secret[:])
	return l, token, s.Store.CreateLink(ctx, l, sha256.Sum256([]byte(token)), by)
}

// OfLink gives the zip that a link reads: the images that are Ready now.
// CodeNotFound tells neither whether there ever was such a link nor why it is over.
func (s *Zips) OfLink(ctx context.Context, token string) (*Zip, error) {
	over := Errorf(CodeNotFound, "this link is over, or never was one; ask whoever gave it for a new one")
	if len(token) != base64.RawURLEncoding.EncodedLen(32) {
		return nil, over
	}
	now, hash := s.Now(), sha256.Sum256([]byte(token))
	l, by, err := s.Store.LinkByHash(ctx, hash, now)
	if CodeOf(err) == CodeNotFound {
		return nil, over
	}
	if err != nil {
		return nil, err
	}
	if !by.Key.Live(now) || by.Need(ScopeRead) != nil {
		return nil, over
	}
	p, err := findProject(ctx, s.Store, by, l.ProjectID)
	if CodeOf(err) == CodeNotFound {
		return nil, over
	}
	if err != nil {
		return nil, err
	}
	return s.open(ctx, "link "+string(hash[:]), p, ZipTree, s.Store.ReadyEntries(ctx, p.ID))
}

// OfTask gives the zip of a task's images to who knows its token, while the task is
// Processing. CodeNotFound otherwise.
func (s *Zips) OfTask(ctx context.Context, taskID, token string) (*Zip, error) {
	none := Errorf(CodeNotFound, "there is no such task under way, or the token is not its own")
	if !IsID(taskID) {
		return nil, none
	}
	t, err := s.Store.ZipTask(ctx, taskID)
	if err != nil && CodeOf(err) != CodeNotFound {
		return nil, err
	}
	if err != nil || token == "" || subtle.ConstantTimeCompare([]byte(t.Token), []byte(token)) != 1 ||
		t.State != TaskProcessing || t.Project.Removed() {
		return nil, none
	}
	return s.open(ctx, "task "+taskID, t.Project, ZipFlat, s.Store.TaskEntries(ctx, taskID))
}

// open lays a zip out for one of those that may read only so many at a time.
func (s *Zips) open(ctx context.Context, who string, p Project, layout ZipLayout, entries iter.Seq2[ZipEntry, error]) (_ *Zip, err error) {
	if !s.begin(who) {
		e := Errorf(CodeTooManyRequests, "%d zips are being read with the same right; try again when one of them is done", maxZips)
		e.RetryAfter = 5 * time.Second
		return nil, e
	}
	defer func() {
		if err != nil {
			s.end(who)
		}
	}()
	a, err := s.Archives.Archive(ctx, layout, entries)
	if err != nil {
		return nil, err
	}
	if a.Entries() == 0 {
		_ = a.Close()
		return nil, Errorf(CodeNoReadyImage, "no image of the project is Ready; there is nothing to put into a zip")
	}
	return &Zip{Archive: a, Project: p, release: func() { s.end(who) }}, nil
}

func (s *Zips) begin(who string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.under[who] >= maxZips {
		return false
	}
	if s.under == nil {
		s.under = map[string]int{}
	}
	s.under[who]++
	return true
}

func (s *Zips) end(who string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.under[who]--; s.under[who] == 0 {
		delete(s.under, who)
	}
}

// ObjectReader reads objects of a bucket.
type ObjectReader interface {
	// OpenProven reads an object from an offset to its end, if it still has that
	// ETag and size; the caller closes it. CodeChanged when it has not, CodeNotFound
	// when it is gone. A body that ends early gives an error.
	OpenProven(ctx context.Context, key, etag string, sizeBytes, offset int64) (io.ReadCloser, error)
}

// Open reads the object of an entry from an offset to its end; the caller closes it.
// CodeUnknownBucket when its bucket is not configured any more; see ObjectReader for
// the others.
func (p *Places) Open(ctx context.Context, e ZipEntry, offset int64) (io.ReadCloser, error) {
	b, ok := p.now.Load().find(e.Bucket)
	if !ok || b.Reader == nil {
		return nil, Errorf(CodeUnknownBucket, "the bucket %s is not configured any more; ask the operator", e.Bucket)
	}
	return b.Reader.OpenProven(ctx, e.Key, e.ETag, e.SizeBytes, offset)
}

// ExtensionsOf returns the endings that stand for an image's MIME type, without
// their dots, the preferred one first; none when the type is not known.
func ExtensionsOf(contentType string) []string {
	var all []string
	for _, kt := range knownTypes() {
		if kt[1] == contentType {
			all = append(all, kt[0])
		}
	}
	return all
}
