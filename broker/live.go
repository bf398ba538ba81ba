package broker

import (
	"context"
	"maps"
	"slices"
	"time"
)

// Change is a line of the audit that is about an image.
type Change struct {
	ID      int64 // of the line; later ones mostly have higher numbers
	ImageID string
}

// LiveStore tells what happens in a project, as those who follow it need it.
type LiveStore interface {
	projectFinder
	// ChangesBefore returns the number of the newest line of a project's audit that
	// is older than a time, 0 where there is none.
	ChangesBefore(ctx context.Context, projectID string, before time.Time) (int64, error)
	// Changes returns up to max lines behind a number, by their numbers. A line that
	// is committed late may come behind higher numbers.
	Changes(ctx context.Context, projectID string, after int64, max int) ([]Change, error)
	// ByID returns the project's images of these ids, removed ones included, in any
	// order.
	ByID(ctx context.Context, projectID string, ids []string) ([]Image, error)
	CountImages(ctx context.Context, projectID string) (Counts, error)
	// LatestTasks returns the newest task of each of these projects that has one.
	LatestTasks(ctx context.Context, projectIDs []string, done bool) (map[string]Task, error)
	// Touch makes the project's awake watches due, at most once a second each.
	Touch(ctx context.Context, projectID string) error
}

// Live lets a project be followed: every change writes the audit in its own
// transaction, so that the audit's new lines name what changed.
type Live struct {
	Store LiveStore
	Now   func() time.Time
}

// settleTime is how long after its number was drawn a line of the audit may be
// committed. Transactions that write it take milliseconds.
const settleTime = 10 * time.Second

// changesMax is how many lines are read at once, newsMax how many images are told at
// once.
const (
	changesMax = 5000
	newsMax    = 500
)

// Feed follows one project, for one goroutine.
type Feed struct {
	live      *Live
	projectID string
	floor     int64              // every line up to here was told, and none can still come
	told      map[int64]struct{} // lines above it that were told
	highest   int64
	resume    int64 // how far the lines were gone through, when there was more; 0: all
	safe      int64 // up to here no line could still come when that began
	marks     []mark
	counts    Counts
	task      Task
	begun     bool
}

// mark says which lines had been told at a time.
type mark struct {
	at time.Time
	id int64
}

// News is what is new in a project.
type News struct {
	Images []Image // that changed, as they are now; removed ones, too
	Counts Counts  // nil: the same as before
	Task   *Task   // the newest one, when it changed
	// Floor is where to follow on from later, also when there is more: what is told
	// again changes nothing.
	Floor int64
	More  bool // there is more at once
}

// Follow begins to follow a project that the caller may read. after is the floor of
// news that he had before; negative: he had none, and what changed in the last
// seconds is new, so that who reads the lists before or after misses nothing.
func (l *Live) Follow(ctx context.Context, by Caller, projectID string, after int64) (*Feed, error) {
	if err := by.Need(ScopeRead); err != nil {
		return nil, err
	}
	if _, err := findProject(ctx, l.Store, by, projectID); err != nil {
		return nil, err
	}
	safe, err := l.Store.ChangesBefore(ctx, projectID, l.Now().Add(-settleTime))
	if err != nil {
		return nil, err
	}
	f := &Feed{live: l, projectID: projectID, floor: safe, told: map[int64]struct{}{}, safe: safe}
	if after >= 0 {
		f.floor = min(after, safe) // a greater one was of another database
	}
	f.highest = f.floor
	return f, nil
}

// behindMax is how many lines of the audit one is told who comes again.
const behindMax = 2000

// Behind reports whether more happened behind a floor of news than is told once more:
// then the lists are to be read anew, and the project followed from now on. The caller
// must be one who may follow it.
func (l *Live) Behind(ctx context.Context, by Caller, projectID string, after int64) (bool, error) {
	if err := by.Need(ScopeRead); err != nil {
		return false, err
	}
	if _, err := findProject(ctx, l.Store, by, projectID); err != nil || after < 0 {
		return false, err
	}
	lines, err := l.Store.Changes(ctx, projectID, after, behindMax+1)
	return len(lines) > behindMax, err
}

// News returns what changed since it was last called. The first call has counts and
// task in any case. While images are open the broker is made to look for them.
func (f *Feed) News(ctx context.Context) (News, error) {
	now := f.live.Now()
	if f.resume == 0 {
		f.settle(now)
	}
	ids, more, err := f.changed(ctx)
	if err != nil {
		return News{}, err
	}
	news := News{More: more}
	if len(ids) > 0 {
		if news.Images, err = f.live.Store.ByID(ctx, f.projectID, ids); err != nil {
			return News{}, err
		}
	}
	if len(ids) > 0 || !f.begun {
		counts, err := f.live.Store.CountImages(ctx, f.projectID)
		if err != nil {
			return News{}, err
		}
		if counts == nil {
			counts = Counts{}
		}
		if !f.begun || !maps.Equal(counts, f.counts) {
			news.Counts, f.counts = counts, counts
		}
	}
	if f.counts[StatePending]+f.counts[StateUploading] > 0 {
		if err := f.live.Store.Touch(ctx, f.projectID); err != nil {
			return News{}, err
		}
	}
	tasks, err := f.live.Store.LatestTasks(ctx, []string{f.projectID}, false)
	if err != nil {
		return News{}, err
	}
	if task, ok := tasks[f.projectID]; ok && (f.task.ID != task.ID || f.task.State != task.State || f.task.Stage != task.Stage ||
		f.task.Progress != task.Progress || len(f.task.Results) != len(task.Results)) {
		news.Task, f.task = &task, task
	}
	f.begun = true
	f.rise(now)
	news.Floor = f.floor
	return news, nil
}

// changed returns the images of lines that were not told yet.
func (f *Feed) changed(ctx context.Context) (ids []string, more bool, err error) {
	seen := map[string]bool{}
	after := max(f.floor, f.resume)
	f.resume = 0
	for {
		lines, err := f.live.Store.Changes(ctx, f.projectID, after, changesMax)
		if err != nil {
			return nil, false, err
		}
		for _, line := range lines {
			if _, ok := f.told[line.ID]; ok {
				after = line.ID
				continue
			}
			if !seen[line.ImageID] && len(ids) == newsMax {
				f.resume = after
				return ids, true, nil
			}
			after = line.ID
			f.told[line.ID] = struct{}{}
			f.highest = max(f.highest, line.ID)
			if !seen[line.ImageID] {
				seen[line.ImageID] = true
				ids = append(ids, line.ImageID)
			}
		}
		if len(lines) < changesMax {
			return ids, false, nil
		}
	}
}

// settle finds out up to where no line can still come: what had been told long enough
// ago.
func (f *Feed) settle(now time.Time) {
	old := 0
	for old < len(f.marks) && now.Sub(f.marks[old].at) > settleTime {
		f.safe = max(f.safe, f.marks[old].id)
		old++
	}
	f.marks = slices.Delete(f.marks, 0, old)
}

// rise lifts the floor to what was gone through since settle said so: a line that was
// committed late lies there no more.
func (f *Feed) rise(now time.Time) {
	if n := len(f.marks); f.highest > f.safe && (n == 0 || f.marks[n-1].id < f.highest) {
		f.marks = append(f.marks, mark{now, f.highest})
	}
	to := f.safe
	if f.resume != 0 {
		to = min(to, f.resume)
	}
	if to > f.floor {
		f.floor = to
		maps.DeleteFunc(f.told, func(id int64, _ struct{}) bool { return id <= f.floor })
	}
}

// Counts are the numbers of images when News was last called, Task the newest task
// of then; nil where there is none.
func (f *Feed) Counts() Counts { return f.counts }

// Task is the newest task as News last saw it; nil where there is none.
func (f *Feed) Task() *Task {
	if f.task.ID == "" {
		return nil
	}
	t := f.task
	return &t
}
