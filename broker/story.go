package broker

import (
	"context"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"
)

// ActorKind says who did something.
type ActorKind string

// The kinds of actors.
const (
	ActorOwner    ActorKind = "owner"    // by one of his keys
	ActorOperator ActorKind = "operator" // at the machine, by a command
	ActorProgram  ActorKind = "program"  // the broker itself
	ActorAnybody  ActorKind = "anybody"  // without a key, where a tag takes files of anybody; the detail has the address
)

// Actor is who did something, as far as it is still known: names are those of
// today.
type Actor struct {
	Kind    ActorKind
	OwnerID string
	Email   string
	KeyID   string
	KeyHint string // how the key begins
	KeyName string
}

// AuditLine is one act: who did what, when, to what.
type AuditLine struct {
	ID        int64 // later acts have higher ones
	At        time.Time
	Action    string
	Who       Actor
	ImageID   string // "": it was about no single image
	ImageName string // "" when the image is gone
	Detail    json.RawMessage
}

// Actions are all that a line of the audit can be about, by what it was done to.
func Actions() []string {
	return []string{
		"image.register", "image.regrant", "image.spare", "image.copy", "image.receive", "image.start", "image.done", "image.seen",
		"image.judge", "image.recheck", "image.expire", "image.accept", "image.remove", "image.undo", "image.sweep", "image.sweep.kept", "image.final",
		"task.start", "task.prestart", "task.fire", "task.wait", "task.stop", "task.done", "task.failed",
		"project.create", "project.link", "project.remove", "project.undo", "project.sweep", "project.sweep.kept", "project.final",
		"key.create", "key.revoke", "owner.create",
	}
}

// AuditQuery asks for part of a project's audit, newest first. Zero values ask for
// no narrowing.
type AuditQuery struct {
	Before  int64 // only lines with lower ids
	Action  string
	ImageID string
	Since   time.Time
	Limit   int
}

// The happenings of a trace that are no act of the audit.
const (
	HappenedGrant        = "grant"         // a right to write was handed out
	HappenedHint         = "hint"          // somebody says that the object changed; the next look asks for it
	HappenedCheckFailed  = "check.failed"  // a check could not run; it is tried again
	HappenedFetchFailed  = "fetch.failed"  // a URL could not be fetched, that time
	HappenedCheckFailing = "check.failing" // since then checks of the present object could not run
	HappenedVerdict      = "verdict"       // what a validation said
	HappenedAttemptEnded = "attempt.ended" // its key is an orphan from then on
)

// Happening is one line of an image's whole story. What it is decides which fields
// it has.
type Happening struct {
	At        time.Time
	What      string // an action of the audit, or one of the above
	Who       *Actor
	Attempt   int
	Bucket    string
	Kind      GrantKind
	ExpiresAt *time.Time
	Filename  string
	ETag      string
	SizeBytes *int64
	SHA1      SHA1
	State     State
	Reasons   []string
	Holder    string // the worker and its job that judged
	JobID     int64
	Try       int // of that job
	Failures  int
	Cause     string
	Detail    json.RawMessage // of the audit
}

// Watching is a place where the broker looks for an image.
type Watching struct {
	Bucket   string
	Looks    int64
	LastLook *time.Time // nil: never yet
	NextLook *time.Time // nil: it sleeps, for nothing is open there
	Pause    time.Duration
	Fault    string // why the last look failed; "" when it did not
}

// Trace is all that is known of an image.
type Trace struct {
	Image    *Image // nil: its row is gone, the audit is what is left
	Story    []Happening
	Cut      bool // of some kind only the newest happenings are told
	Watching []Watching
}

// StoryStore reads what happened. Nothing of it is a signed URL or a URL that a
// client named.
type StoryStore interface {
	// AnyProject returns a project, also one whose removal is final. CodeNotFound.
	AnyProject(ctx context.Context, id string) (Project, error)
	// Audit returns a part of a project's audit, newest first.
	Audit(ctx context.Context, projectID string, q AuditQuery) ([]AuditLine, error)
	// ProjectOfStory finds the project of an image, also one whose row is gone.
	// CodeNotFound when there never was one.
	ProjectOfStory(ctx context.Context, imageID string) (projectID string, err error)
	// LastLooks tells how the last look into each bucket went where there was one, by
	// their symbols.
	LastLooks(ctx context.Context) (map[string]BucketLook, error)
	// Trace tells an image's whole story, in the order of time.
	Trace(ctx context.Context, imageID string) (Trace, error)
}

// Audit returns a part of a project's audit, newest first. It stays readable by
// the project's owner after the project was removed, for good: that is what an
// audit is for.
func (s *Images) Audit(ctx context.Context, by Caller, projectID string, q AuditQuery) ([]AuditLine, error) {
	if err := by.Need(ScopeRead); err != nil {
		return nil, err
	}
	if err := s.mayReadStory(ctx, by, projectID); err != nil {
		return nil, err
	}
	if q.ImageID != "" && !IsID(q.ImageID) {
		return nil, Errorf(CodeInvalid, "%.40q is no image's id, which has %d characters", q.ImageID, idLen)
	}
	return s.Store.Audit(ctx, projectID, q)
}

// Trace tells all that is known of an image, also of one that is gone.
func (s *Images) Trace(ctx context.Context, by Caller, imageID string) (Trace, error) {
	if err := by.Need(ScopeRead); err != nil {
		return Trace{}, err
	}
	// The same for an image that never was and for another's.
	absent := Errorf(CodeNotFound, "there is no such image; an image's id has %d characters", idLen)
	if !IsID(imageID) {
		return Trace{}, absent
	}
	absent = Errorf(CodeNotFound, "there is no image %s", imageID)
	projectID, err := s.Store.ProjectOfStory(ctx, imageID)
	if err == nil {
		err = s.mayReadStory(ctx, by, projectID)
	}
	if CodeOf(err) == CodeNotFound {
		return Trace{}, absent
	}
	if err != nil {
		return Trace{}, err
	}
	return s.Store.Trace(ctx, imageID)
}

// mayReadStory refuses projects that are not the caller's as if there were none.
func (s *Images) mayReadStory(ctx context.Context, by Caller, projectID string) error {
	if !IsID(projectID) {
		return errNoProject(projectID)
	}
	p, err := s.Store.AnyProject(ctx, projectID)
	if err == nil && !by.MaySee(p.OwnerID, p.ID) || CodeOf(err) == CodeNotFound {
		return errNoProject(projectID)
	}
	return err
}

// maxCause is how many bytes of a cause are told.
const maxCause = 500

// PlainCause makes one line of an error's text, for a table or an answer. URLs are
// cut to their hosts and what looks like a signature is left out: a URL may be a
// right to write, or a client's secret.
func PlainCause(text string) string {
	words := strings.Fields(strings.ToValidUTF8(text, "�"))
	for i, w := range words {
		words[i] = plainWord(w)
	}
	line := strings.Map(func(r rune) rune {
		if notPlain(r) && r != ' ' && r != utf8.RuneError {
			return -1
		}
		return r
	}, strings.Join(words, " "))
	if len(line) > maxCause {
		line = strings.ToValidUTF8(line[:maxCause], "") + "…"
	}
	return line
}

func plainWord(w string) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(w, "://")
		if !found {
			break
		}
		end := strings.IndexAny(rest, "\"'<>`)]},;")
		if end < 0 {
			end = len(rest)
		}
		url := rest[:end]
		w = rest[end:]
		authority := url
		if cut := strings.IndexAny(url, "/?#\\"); cut >= 0 {
			authority = url[:cut]
		}
		host := authority[strings.LastIndexByte(authority, '@')+1:]
		out.WriteString(before + "://" + host)
		if authority != url {
			out.WriteString("/…")
		}
	}
	out.WriteString(w)
	if lower := strings.ToLower(out.String()); strings.Contains(lower, "signature=") || strings.Contains(lower, "token=") {
		return "…"
	}
	return out.String()
}
