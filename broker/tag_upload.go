package broker

import (
	"context"
	"crypto/sha1"
	"errors"
	"hash"
	"io"
	"net/netip"
	"slices"
	"strings"
)

// recheckBytes is how much of a file is taken between two looks at the disk.
const recheckBytes = 8 << 20

// TagIntake takes files into a tag for one caller, one after the other.
type TagIntake struct {
	tags      *Tags
	project   Project
	first     bool   // the tag comes to be with the first file
	by        Caller // by whose right, the zero Caller by that of anybody
	shown     Caller // whose key was shown, for the audit; the zero Caller: none
	anonymous bool
	client    netip.Addr
	followed  int // how often one file had to go elsewhere
}

// NewTagFile is a file that comes in.
type NewTagFile struct {
	Name      string // as the client calls it
	Type      string // as the client calls it; counts where the name's extension says nothing
	SizeBytes int64  // negative: not known
	Body      io.Reader
}

// Intake decides who may send to a tag: an owner with the scope upload to his own,
// which comes to be with its first file, and anybody where the tag is anonymous. Such a
// one is the first owner's, whoever sends to it first.
func (s *Tags) Intake(ctx context.Context, by Caller, client netip.Addr, name string) (*TagIntake, error) {
	if err := CheckTagName(name); err != nil {
		return nil, err
	}
	in := &TagIntake{tags: s, by: by, shown: by, client: client}
	at := slices.IndexFunc(s.Policy.Anonymous, sameTag(name))
	open := at >= 0
	if open {
		name = s.Policy.Anonymous[at]
	} else if err := by.Need(ScopeUpload); err != nil {
		return nil, err
	}
	var err error
	in.project, err = s.Store.TagByName(ctx, name)
	if CodeOf(err) == CodeNotFound {
		in.first = true
		owner := by.Owner
		switch {
		case open:
			if owner, err = s.Store.FirstOwner(ctx); err != nil {
				return nil, err
			}
		case by.Key.ProjectID != "":
			return nil, Errorf(CodeNotAllowed, "this key is tied to the project %s and can make no tag", by.Key.ProjectID)
		}
		in.project, err = s.newTag(name, owner.ID), nil
	}
	if err != nil {
		return nil, err
	}
	switch {
	case by.Can(ScopeUpload) && by.MaySee(in.project.OwnerID, in.project.ID):
		return in, nil
	case open:
		in.by, in.anonymous = Caller{}, true
		return in, nil
	}
	return nil, Errorf(CodeNotAllowed, "the tag %s is another's, or this key is tied elsewhere; choose another tag", name)
}

// Anonymous reports whether nobody's right is used but that of anybody.
func (t *TagIntake) Anonymous() bool { return t.anonymous }

// Tag is the name of the tag.
func (t *TagIntake) Tag() string { return t.project.Tag }

// Take streams a file into the nearest bucket and makes an image of it, which is
// judged like any other. kept is false when the tag had these bytes already: the
// image is that one then. On an error nothing is kept, also when the body ends early.
func (t *TagIntake) Take(ctx context.Context, f NewTagFile) (_ Image, kept bool, err error) {
	s := t.tags
	place, err := t.place()
	if err != nil {
		return Image{}, false, err
	}
	if f.SizeBytes > s.Images.Limits.MaxObject {
		return Image{}, false, errTooLong(s.Images.Limits.MaxObject)
	}
	hasRoom := func(bytes int64) error { return s.disk(place, bytes) }
	if err := hasRoom(max(f.SizeBytes, 0)); err != nil {
		return Image{}, false, err
	}
	grow := func(int64) error { return nil }
	if t.anonymous && s.Policy.QuotaBytes > 0 {
		room, err := s.room(ctx, t.project, max(f.SizeBytes, 0))
		if err != nil {
			return Image{}, false, err
		}
		defer func() { room.leave(kept) }()
		grow = room.grow
	}
	m := &meter{body: f.Body, sum: sha1.New(), most: s.Images.Limits.MaxObject, grow: grow, recheck: func() error { return hasRoom(0) }}
	if !t.first {
		return t.receive(ctx, place, f, m)
	}
	return t.receiveFirst(ctx, place, f, m)
}

// receive makes an image of a file in a tag that is there.
func (t *TagIntake) receive(ctx context.Context, place Bucket, f NewTagFile, m *meter) (Image, bool, error) {
	r, err := t.put(ctx, place, f, m)
	if err != nil {
		return Image{}, false, err
	}
	img, kept, err := t.keep(ctx, r)
	switch {
	case kept, errors.Is(err, errUnsure):
		return img, kept, err
	case CodeOf(err) == CodeNotFound: // the tag was removed meanwhile, or gave way to one that came back
		img, kept, err = t.follow(ctx, place, f, r)
	}
	t.discard(ctx, place, r.key())
	return img, kept, err
}

// incoming is a file on its way to its object.
type incoming struct {
	ReceivedFile
	filename string
}

func (r incoming) key() string { return Image{ProjectID: r.ProjectID, Filename: r.filename}.Key() }

// newFile names the object of a file, of which nothing is known yet.
func (t *TagIntake) newFile(f NewTagFile) incoming {
	name := SafeName(f.Name)
	r := incoming{ReceivedFile: ReceivedFile{
		ID: NewID(t.tags.Now()), ProjectID: t.project.ID, Name: name, Type: typeOfSent(name, f.Type),
		Anonymous: t.anonymous, Client: t.client, First: t.first, By: t.shown,
	}}
	r.filename = r.ID
	if ext := extOf(name, r.Type); ext != "" {
		r.filename += "." + ext
	}
	return r
}

// put streams a file into the bucket.
func (t *TagIntake) put(ctx context.Context, place Bucket, f NewTagFile, m *meter) (incoming, error) {
	r := t.newFile(f)
	seen, err := place.Receiver.Receive(ctx, r.key(), r.Type, f.SizeBytes, m)
	if err != nil {
		return incoming{}, err
	}
	r.Seen, r.Now = seen, t.tags.Now()
	r.Seen.Bucket, r.Seen.ProjectID, r.Seen.Filename = place.Symbol, r.ProjectID, r.filename
	m.sum.Sum(r.SHA1[:0])
	return r, nil
}

// place is the nearest bucket that takes what passes through the broker.
func (t *TagIntake) place() (Bucket, error) {
	for _, b := range t.tags.Images.Nearest(t.by, t.client) {
		if b.Receiver != nil {
			return b, nil
		}
	}
	return Bucket{}, Errorf(CodeNoBucket, "no bucket takes files of this tag from where you are; ask the operator")
}

// disk refuses what would not leave enough of the disk free.
func (s *Tags) disk(place Bucket, bytes int64) error {
	if place.Free == nil || s.Policy.MinFreeBytes == 0 {
		return nil
	}
	free, err := place.Free()
	if err != nil || free-bytes >= s.Policy.MinFreeBytes { // one that can't be asked: the write itself will tell
		return nil
	}
	return Errorf(CodeInsufficientStorage, "the disk of this server is nearly full and takes no more files; have space freed on it, then send the file again")
}

func errTooLong(most int64) error {
	return Errorf(CodeTooLarge, "the file has more than %d bytes, which are the most here", most)
}

// typeOfSent is what an object is served as: what its name says, and the sender's
// word where that says nothing and names a picture. One that can hold scripts is none.
func typeOfSent(name, told string) string {
	if t := TypeOf(name); t != unknownType {
		return t
	}
	for _, kt := range knownTypes() {
		if kt[1] == told && strings.HasPrefix(told, "image/") {
			return told
		}
	}
	return unknownType
}

// meter counts and digests what is read, within bounds.
type meter struct {
	body      io.Reader
	sum       hash.Hash
	bytes     int64
	unchecked int64 // since the last look at the disk
	most      int64
	grow      func(int64) error
	recheck   func() error
	broke     bool // it gave an error: nobody has read it whole
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.read(p)
	m.broke = m.broke || err != nil && err != io.EOF
	return n, err
}

func (m *meter) read(p []byte) (int, error) {
	n, err := m.body.Read(p)
	m.sum.Write(p[:n])
	m.bytes += int64(n)
	m.unchecked += int64(n)
	if m.bytes > m.most {
		return n, errTooLong(m.most)
	}
	if n > 0 {
		if err := m.grow(int64(n)); err != nil {
			return n, err
		}
	}
	if m.unchecked >= recheckBytes {
		m.unchecked = 0
		if err := m.recheck(); err != nil {
			return n, err
		}
	}
	var known *Error
	if err != nil && err != io.EOF && !errors.As(err, &known) {
		err = &Error{Code: CodeInvalid, Msg: "the file broke off on its way; nothing of it was kept, send it again", Err: err}
	}
	return n, err
}
