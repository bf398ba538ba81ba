package broker

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"
)

// ProjectKind says what a project takes.
type ProjectKind string

// The kinds.
const (
	KindRecon ProjectKind = "recon" // images for a reconstruction
	KindFiles ProjectKind = "files" // anything; tags are of this kind
)

// UndoWindow is how long a removal can be undone.
const UndoWindow = 10 * time.Minute

// Project owns images; its id is their prefix in every bucket.
type Project struct {
	ID        string
	OwnerID   string
	Name      string
	Kind      ProjectKind
	Tag       string // "" when it is none
	CreatedAt time.Time
	RemovedAt *time.Time
	UndoUntil *time.Time
	FinalAt   *time.Time
}

// Removed reports whether the project was removed.
func (p Project) Removed() bool { return p.RemovedAt != nil }

// Counts are the numbers of a project's images by state, Removed left out.
type Counts map[State]int

// Page asks for part of a list: up to Limit entries after the id After.
type Page struct {
	After string
	Limit int
}

// Window asks for part of a list from either end, as Relay's cursors do: up to
// Limit entries behind After and before Before (ids, "" for none), the last ones
// with FromEnd.
type Window struct {
	After, Before string
	Limit         int
	FromEnd       bool
}

// Stats are the numbers of a project's images.
type Stats struct {
	Counts Counts
	Pixels int64 // of the Ready ones
}

// ProjectStore keeps projects.
type ProjectStore interface {
	// WindowProjects returns a part of an owner's projects that are not removed,
	// newest first, whose name contains search or whose id begins with it, in
	// either case, and the number of all such; one more than asked for tells that
	// there are more.
	WindowProjects(ctx context.Context, ownerID, onlyID, search string, w Window) (list []Project, total int, err error)
	// ProjectsByPrefix returns up to max of an owner's projects that are not
	// removed and whose id begins with prefix, newest first.
	ProjectsByPrefix(ctx context.Context, ownerID, onlyID, prefix string, max int) ([]Project, error)
	// StatsOf counts in several projects; one without images may have no entry.
	StatsOf(ctx context.Context, projectIDs []string) (map[string]Stats, error)
	// CreateProject adds a project and writes the audit.
	CreateProject(ctx context.Context, p Project, by Caller) error
	// Project returns one, removed ones until they are final. CodeNotFound.
	Project(ctx context.Context, id string) (Project, error)
	// ListProjects returns an owner's projects that are not removed, newest
	// first, after a page's id. query is "", an id, a prefix of one, or an exact name.
	ListProjects(ctx context.Context, ownerID, onlyID, query string, page Page) ([]Project, error)
	// CountImages counts by state.
	CountImages(ctx context.Context, projectID string) (Counts, error)
	// CountImagesOf counts by state in several projects; one without images may
	// have no entry.
	CountImagesOf(ctx context.Context, projectIDs []string) (map[string]Counts, error)
	// RemoveProject marks it removed; already removed is no error.
	RemoveProject(ctx context.Context, id string, now, undoUntil time.Time, by Caller) (Project, error)
	// UndoRemoveProject takes a removal back. CodeUndoEnded after its time.
	UndoRemoveProject(ctx context.Context, id string, now time.Time, by Caller) (Project, error)
}

// Projects holds the rules of projects.
type Projects struct {
	Store ProjectStore
	Now   func() time.Time
}

// Create adds a project of the caller.
func (s *Projects) Create(ctx context.Context, by Caller, name string, kind ProjectKind) (Project, error) {
	if err := by.Need(ScopeUpload); err != nil {
		return Project{}, err
	}
	if by.Key.ProjectID != "" {
		return Project{}, Errorf(CodeNotAllowed, "this key is tied to the project %s and can make no other", by.Key.ProjectID)
	}
	if err := checkTitle("project", name); err != nil {
		return Project{}, err
	}
	switch kind {
	case KindRecon, KindFiles:
	case "":
		kind = KindRecon
	default:
		return Project{}, Errorf(CodeInvalid, "unknown kind %q: it is recon or files", kind)
	}
	now := s.Now()
	p := Project{ID: NewID(now), OwnerID: by.Owner.ID, Name: name, Kind: kind, CreatedAt: now}
	return p, s.Store.CreateProject(ctx, p, by)
}

// Get returns a project with its counts.
func (s *Projects) Get(ctx context.Context, by Caller, id string) (Project, Counts, error) {
	if err := by.Need(ScopeRead); err != nil {
		return Project{}, nil, err
	}
	p, err := findProject(ctx, s.Store, by, id)
	if err != nil {
		return Project{}, nil, err
	}
	counts, err := s.Store.CountImages(ctx, id)
	return p, counts, err
}

// List returns the caller's projects, newest first. query narrows it to an id, a
// prefix of one, or an exact name.
func (s *Projects) List(ctx context.Context, by Caller, query string, page Page) ([]Project, error) {
	if err := by.Need(ScopeRead); err != nil {
		return nil, err
	}
	if !utf8.ValidString(query) || strings.ContainsRune(query, 0) {
		return nil, Errorf(CodeInvalid, "no project is called so: a name is UTF-8 without control characters")
	}
	return s.Store.ListProjects(ctx, by.Owner.ID, by.Key.ProjectID, query, page)
}

// ListWithCounts is List with each project's counts, in the same order.
func (s *Projects) ListWithCounts(ctx context.Context, by Caller, query string, page Page) ([]Project, []Counts, error) {
	list, err := s.List(ctx, by, query, page)
	if err != nil || len(list) == 0 {
		return nil, nil, err
	}
	ids := make([]string, len(list))
	for i, p := range list {
		ids[i] = p.ID
	}
	byID, err := s.Store.CountImagesOf(ctx, ids)
	if err != nil {
		return nil, nil, err
	}
	counts := make([]Counts, len(list))
	for i, id := range ids {
		counts[i] = byID[id]
	}
	return list, counts, nil
}

// Window returns a part of the caller's projects, newest first, that search fits
// ("" for all), the number of all of them, and whether there are more beyond the
// end that the window does not begin at.
func (s *Projects) Window(ctx context.Context, by Caller, search string, w Window) (list []Project, total int, more bool, err error) {
	if err := by.Need(ScopeRead); err != nil {
		return nil, 0, false, err
	}
	if !utf8.ValidString(search) || strings.ContainsRune(search, 0) {
		return nil, 0, false, Errorf(CodeInvalid, "no project is called so: a name is UTF-8 without control characters")
	}
	if err := w.check(); err != nil {
		return nil, 0, false, err
	}
	list, total, err = s.Store.WindowProjects(ctx, by.Owner.ID, by.Key.ProjectID, search, w)
	list, more = cutWindow(list, w)
	return list, total, more, err
}

// ByPrefix returns up to max of the caller's projects whose id begins with
// prefix, in either case, newest first.
func (s *Projects) ByPrefix(ctx context.Context, by Caller, prefix string, max int) ([]Project, error) {
	if err := by.Need(ScopeRead); err != nil {
		return nil, err
	}
	prefix = strings.ToUpper(strings.TrimSpace(prefix))
	if prefix != "" && !IsIDPrefix(prefix) {
		return nil, nil
	}
	return s.Store.ProjectsByPrefix(ctx, by.Owner.ID, by.Key.ProjectID, prefix, max)
}

// StatsOf counts in several projects that the caller was given by this type.
func (s *Projects) StatsOf(ctx context.Context, by Caller, ids []string) (map[string]Stats, error) {
	if err := by.Need(ScopeRead); err != nil {
		return nil, err
	}
	return s.Store.StatsOf(ctx, ids)
}

// check refuses cursors that no answer has given.
func (w Window) check() error {
	for _, id := range []string{w.After, w.Before} {
		if id != "" && !IsID(id) {
			return Errorf(CodeInvalid, "%.40q is no cursor; take startCursor or endCursor of a page", id)
		}
	}
	return nil
}

// cutWindow takes off the one more that tells of others.
func cutWindow[T any](list []T, w Window) (_ []T, more bool) {
	switch {
	case len(list) <= w.Limit:
		return list, false
	case w.FromEnd:
		return list[len(list)-w.Limit:], true
	}
	return list[:w.Limit], true
}

// Remove hides a project and everything in it. Undo takes it back for ten
// minutes; then its objects are deleted.
func (s *Projects) Remove(ctx context.Context, by Caller, id string) (Project, error) {
	if err := s.mayManage(ctx, by, id); err != nil {
		return Project{}, err
	}
	now := s.Now()
	return s.Store.RemoveProject(ctx, id, now, now.Add(UndoWindow), by)
}

// Undo takes a removal back.
func (s *Projects) Undo(ctx context.Context, by Caller, id string) (Project, error) {
	if err := s.mayManage(ctx, by, id); err != nil {
		return Project{}, err
	}
	return s.Store.UndoRemoveProject(ctx, id, s.Now(), by)
}

func (s *Projects) mayManage(ctx context.Context, by Caller, id string) error {
	if err := by.Need(ScopeManage); err != nil {
		return err
	}
	if !IsID(id) {
		return errNoProject(id)
	}
	p, err := s.Store.Project(ctx, id)
	if err == nil && !by.MaySee(p.OwnerID, p.ID) || CodeOf(err) == CodeNotFound {
		return errNoProject(id)
	}
	return err
}

// projectFinder is the part of a store that finds a project.
type projectFinder interface {
	Project(ctx context.Context, id string) (Project, error)
}

// findProject returns a project that the caller may see and that is not removed.
func findProject(ctx context.Context, store projectFinder, by Caller, id string) (Project, error) {
	if !IsID(id) {
		return Project{}, errNoProject(id)
	}
	p, err := store.Project(ctx, id)
	if err == nil && (p.Removed() || !by.MaySee(p.OwnerID, p.ID)) || CodeOf(err) == CodeNotFound {
		return Project{}, errNoProject(id)
	}
	return p, err
}

// errNoProject is the same for a project that does not exist and for another's.
func errNoProject(id string) error {
	if !IsID(id) {
		return Errorf(CodeNotFound, "there is no such project; a project's id has %d characters", idLen)
	}
	return Errorf(CodeNotFound, "there is no project %s", id)
}
