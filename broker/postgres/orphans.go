package postgres

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres/sqlc"
)

// How long a sweep may keep a project's registrations waiting, and may itself
// wait for them.
const (
	holdGrants = 20 * time.Second
	waitGrants = 10 * time.Second
)

// ProjectFate is what became of a project.
type ProjectFate string

// The fates.
const (
	ProjectUnknown ProjectFate = ""        // this database never had it
	ProjectLives   ProjectFate = "lives"   //
	ProjectRemoved ProjectFate = "removed" // its removal may be undone, or deletes its objects
	ProjectFinal   ProjectFate = "final"   // its removal is over
)

// File is what the database knows of a file name of a project.
type File struct {
	// The image whose present attempt has the name; "" when there is none.
	ImageID     string
	State       broker.State
	Attempt     int
	Bucket      string // where its object was seen; "": nowhere yet
	ETag        string
	JudgedAt    time.Time
	GrantsEnd   time.Time // of the image, in any bucket
	GrantedHere time.Time // when the last grant of this attempt in the bucket asked for ends; long ago when there was none

	// The attempt that ended and had the name; "" when there is none.
	EndedImageID string
	EndedAttempt int
	EndedAt      time.Time

	// SpareUntil is until when a grant for an attempt that has not come names the
	// file; zero when there is none.
	SpareUntil time.Time
}

// Thumb is what the database knows of the image that a thumbnail is of.
type Thumb struct {
	State   broker.State // StateNone: there is no such image
	Attempt int
	Bucket  string // where the image's object was seen; "": nowhere yet
	Told    bool   // its facts tell of a thumbnail
	Final   bool   // there was such an image, and its removal is over
}

// Files are a project's, by their names, its thumbnails, by their images' ids, and
// the results of its tasks.
type Files struct {
	Project ProjectFate
	byName  map[string]File
	thumbs  map[string]Thumb
	tasks   map[string]broker.TaskState
	results map[string]string // etags, by task and name
}

// Names are what is asked of a project's prefix, and of those of its thumbnails and
// results.
type Names struct {
	Files  []string
	Thumbs []string // ids of images
	Tasks  []string // whose results these are
}

// Of is what is known of a name.
func (f Files) Of(filename string) File { return f.byName[filename] }

// ThumbOf is what is known of the image with this id, for its thumbnail's sake.
func (f Files) ThumbOf(imageID string) Thumb { return f.thumbs[imageID] }

// TaskOf is the state of a task, for its results' sake; "": there is none. etag is that
// of its result of this name in the bucket that was asked about; "": it has none there.
func (f Files) TaskOf(taskID, name string) (state broker.TaskState, etag string) {
	return f.tasks[taskID], f.results[taskID+"/"+name]
}

// Files tells what the database knows of these names in a bucket.
func (s *Store) Files(ctx context.Context, projectID, bucket string, names Names, now time.Time) (Files, error) {
	r, err := s.q.ProjectFate(ctx, projectID)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return Files{}, wrap(err)
	}
	fate := fateOf(err == nil, r.Removed, r.Final)
	files, err := filesOf(ctx, s.q, fate, projectID, bucket, names, now)
	return files, wrap(err)
}

func fateOf(known, removed, final bool) ProjectFate {
	switch {
	case !known:
		return ProjectUnknown
	case final:
		return ProjectFinal
	case removed:
		return ProjectRemoved
	}
	return ProjectLives
}

func filesOf(ctx context.Context, q *sqlc.Queries, fate ProjectFate, projectID, bucket string, names Names, now time.Time) (Files, error) {
	files := Files{Project: fate, byName: make(map[string]File, len(names.Files)), thumbs: make(map[string]Thumb, len(names.Thumbs))}
	files.tasks, files.results = map[string]broker.TaskState{}, map[string]string{}
	if fate == ProjectUnknown {
		return files, nil
	}
	if len(names.Thumbs) > 0 {
		if err := files.addThumbs(ctx, q, projectID, names.Thumbs); err != nil {
			return files, err
		}
	}
	if len(names.Tasks) > 0 {
		if err := files.addResults(ctx, q, projectID, bucket, names.Tasks); err != nil {
			return files, err
		}
	}
	if len(names.Files) == 0 {
		return files, nil
	}
	rows, err := q.FilesOfProject(ctx, sqlc.FilesOfProjectParams{ProjectID: projectID, Bucket: bucket, Filenames: names.Files})
	if err != nil {
		return files, err
	}
	var nobodys []string
	for _, r := range rows {
		if r.ImageID == nil && r.EndedImageID == nil {
			nobodys = append(nobodys, r.Filename)
		}
		files.byName[r.Filename] = File{
			ImageID: deref(r.ImageID), State: broker.State(deref(r.State)), Attempt: int(deref(r.Attempt)),
			Bucket: deref(r.Bucket), ETag: deref(r.Etag), JudgedAt: deref(r.JudgedAt),
			GrantsEnd: deref(r.GrantsEnd), GrantedHere: r.GrantedHere,
			EndedImageID: deref(r.EndedImageID), EndedAttempt: int(deref(r.EndedAttempt)), EndedAt: deref(r.EndedAt),
		}
	}
	if len(nobodys) == 0 {
		return files, nil
	}
	spares, err := q.SpareKeys(ctx, sqlc.SpareKeysParams{
		ProjectID: projectID, After: now.Add(-broker.GraceAfterGrant), Filenames: nobodys,
	})
	for _, r := range spares {
		f := files.byName[r.Filename]
		f.SpareUntil = r.Ends
		files.byName[r.Filename] = f
	}
	return files, err
}

func (f Files) addThumbs(ctx context.Context, q *sqlc.Queries, projectID string, ids []string) error {
	rows, err := q.ThumbsOfProject(ctx, sqlc.ThumbsOfProjectParams{ProjectID: projectID, Ids: ids})
	for _, r := range rows {
		f.thumbs[r.ImageID] = Thumb{
			State: broker.State(deref(r.State)), Attempt: int(deref(r.Attempt)), Bucket: deref(r.Bucket), Told: r.Told, Final: r.Final,
		}
	}
	return err
}

func (f Files) addResults(ctx context.Context, q *sqlc.Queries, projectID, bucket string, ids []string) error {
	states, err := q.StateOfTasks(ctx, sqlc.StateOfTasksParams{ProjectID: projectID, Ids: ids})
	for _, r := range states {
		f.tasks[r.ID] = broker.TaskState(r.State)
	}
	if err != nil {
		return err
	}
	results, err := q.ResultsAt(ctx, sqlc.ResultsAtParams{ProjectID: projectID, Ids: ids, Bucket: bucket})
	for _, r := range results {
		f.results[r.TaskID+"/"+r.Name] = r.Etag
	}
	return err
}

// Swept is an object, or an upload in parts, that is to be deleted or was kept.
type Swept struct {
	Bucket, Key string
	Class       string // of the orphan
	ProjectID   string // "": below no project's prefix
	ImageID     string // "": no image's
	Attempt     int
	ETag        string // of an Invalid image's object: the one that was judged
	Kept        string // why it was not deleted after all
}

// PlanSweep writes down what is about to be deleted: the audit, and with Invalid
// images that their objects go, so that none of them is accepted any more. It is
// stored before anything is deleted, for the process may be killed in between. It
// reports for each whether it may go on: an Invalid image may have moved.
func (s *Store) PlanSweep(ctx context.Context, planned []Swept, now time.Time) ([]bool, error) {
	var goOn []bool
	err := s.inTx(ctx, func(_ pgx.Tx, q *sqlc.Queries) error {
		goOn = make([]bool, len(planned))
		for i, p := range planned {
			ok, err := markSwept(ctx, q, p, now)
			if err != nil {
				return err
			}
			if goOn[i] = ok; !ok {
				continue
			}
			if err := auditSweep(ctx, q, p, now); err != nil {
				return err
			}
		}
		return nil
	})
	return goOn, err
}

// markSwept marks an Invalid image; others need no mark.
func markSwept(ctx context.Context, q *sqlc.Queries, p Swept, now time.Time) (bool, error) {
	if p.ETag == "" {
		return true, nil
	}
	n, err := q.MarkSwept(ctx, sqlc.MarkSweptParams{
		ID: p.ImageID, ProjectID: p.ProjectID, Attempt: int32(p.Attempt), Bucket: p.Bucket, Etag: p.ETag, Now: now,
	})
	return n > 0, err
}

// auditSweep adds image.sweep or project.sweep, and …sweep.kept for what was
// planned and not deleted.
func auditSweep(ctx context.Context, q *sqlc.Queries, p Swept, now time.Time) error {
	action := "project.sweep"
	detail := map[string]any{"bucket": p.Bucket, "key": p.Key, "class": p.Class}
	if p.ImageID != "" {
		action, detail["attempt"] = "image.sweep", p.Attempt
	}
	if p.Kept != "" {
		action, detail["why"] = action+".kept", p.Kept
	}
	return audit(ctx, q, now, action, broker.Caller{}, p.ProjectID, p.ImageID, detail)
}

// Held is a project in which nobody is granted anything meanwhile.
type Held struct {
	Files
	q   *sqlc.Queries
	now time.Time
}

// HoldGrants runs f while nobody can be granted anything in the project, which can't
// be removed either: what f finds to be nobody's stays so until it returns. Nor do
// the images move that thumbnails are asked of. Its context ends after 20 seconds,
// so that nobody waits for longer; should the process hang, the database lets go by
// itself. f may run again.
func (s *Store) HoldGrants(ctx context.Context, projectID, bucket string, names Names, now time.Time, f func(context.Context, Held) error) error {
	return s.inTx(ctx, func(_ pgx.Tx, q *sqlc.Queries) error {
		if err := q.EndWhenIdle(ctx, strconv.FormatInt(holdGrants.Milliseconds(), 10)); err != nil {
			return err
		}
		r, known, err := lockAlone(ctx, q, projectID)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, holdGrants)
		defer cancel()
		if len(names.Thumbs) > 0 {
			if err := q.LockImages(ctx, sqlc.LockImagesParams{ProjectID: projectID, Ids: names.Thumbs}); err != nil {
				return err
			}
		}
		files, err := filesOf(ctx, q, fateOf(known, r.Removed, r.Final), projectID, bucket, names, now)
		if err != nil {
			return err
		}
		return f(ctx, Held{Files: files, q: q, now: now})
	})
}

func lockAlone(ctx context.Context, q *sqlc.Queries, projectID string) (r sqlc.LockProjectAloneRow, known bool, err error) {
	wait, cancel := context.WithTimeout(ctx, waitGrants)
	defer cancel()
	r, err = q.LockProjectAlone(wait, projectID)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return r, false, nil
	case err != nil && wait.Err() != nil && ctx.Err() == nil:
		return r, false, unavailable(err, "so many images are being registered in the project that its orphans have to wait; try again later")
	}
	return r, err == nil, err
}

// Mark makes sure that an Invalid image still holds what was judged, and that it
// stays so until f returns. Images are to be marked in the order of their ids.
func (h Held) Mark(ctx context.Context, p Swept) (bool, error) { return markSwept(ctx, h.q, p, h.now) }

// Keep writes down that something planned was not deleted. gone says that it was
// not there any more, so that an Invalid image stays marked.
func (h Held) Keep(ctx context.Context, p Swept, gone bool) error {
	if p.ETag != "" && !gone {
		if err := h.q.UnmarkSwept(ctx, sqlc.UnmarkSweptParams{ID: p.ImageID, Attempt: int32(p.Attempt), Etag: p.ETag}); err != nil {
			return err
		}
	}
	return auditSweep(ctx, h.q, p, h.now)
}
