package broker

import (
	"context"
	"slices"
	"strings"
)

// Get returns a task.
func (t *Tasks) Get(ctx context.Context, by Caller, id string) (Task, error) {
	if err := by.Need(ScopeRead); err != nil {
		return Task{}, err
	}
	return t.find(ctx, by, id)
}

// find returns a task of a project that the caller may see and that is not removed.
func (t *Tasks) find(ctx context.Context, by Caller, id string) (Task, error) {
	if !IsID(id) {
		return Task{}, errNoTask(id)
	}
	task, err := t.Store.Task(ctx, id)
	if err == nil {
		_, err = findProject(ctx, t.Store, by, task.ProjectID)
	}
	if CodeOf(err) == CodeNotFound {
		return Task{}, errNoTask(id)
	}
	return task, err
}

// errNoTask is the same for a task that does not exist and for another's.
func errNoTask(id string) error {
	if !IsID(id) {
		return Errorf(CodeNotFound, "there is no such task; a task's id has %d characters", idLen)
	}
	return Errorf(CodeNotFound, "there is no task %s", id)
}

// List returns a project's tasks, newest first.
func (t *Tasks) List(ctx context.Context, by Caller, projectID string, page Page) ([]Task, error) {
	if err := by.Need(ScopeRead); err != nil {
		return nil, err
	}
	if _, err := findProject(ctx, t.Store, by, projectID); err != nil {
		return nil, err
	}
	return t.Store.ListTasks(ctx, projectID, page)
}

// ListAll returns the tasks of all of the caller's projects, newest first, whose id
// begins with prefix, in either case.
func (t *Tasks) ListAll(ctx context.Context, by Caller, prefix string, page Page) ([]Task, error) {
	if err := by.Need(ScopeRead); err != nil {
		return nil, err
	}
	prefix = strings.ToUpper(strings.TrimSpace(prefix))
	if prefix != "" && !IsIDPrefix(prefix) {
		return nil, nil
	}
	return t.Store.ListTasksOf(ctx, by.Owner.ID, by.Key.ProjectID, prefix, page)
}

// Latest returns the newest task of each of these projects, with done the newest that
// is Done. The caller must have been given the projects by type Projects.
func (t *Tasks) Latest(ctx context.Context, by Caller, projectIDs []string, done bool) (map[string]Task, error) {
	if err := by.Need(ScopeRead); err != nil {
		return nil, err
	}
	return t.Store.LatestTasks(ctx, projectIDs, done)
}

// Result returns a URL that reads a result of a task for ten minutes.
func (t *Tasks) Result(ctx context.Context, by Caller, id, name string) (string, error) {
	task, err := t.Get(ctx, by, id)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(task.Results, func(r Result) bool { return r.Name == name })
	if i < 0 {
		return "", Errorf(CodeNotFound, "the task is %s and has no result of this name", task.State)
	}
	return t.Link(ctx, task, task.Results[i])
}

// Link returns a URL that reads a result for ten minutes, of a task that the caller
// was given by this type. CodeNotSupported when its bucket gives no links.
func (t *Tasks) Link(ctx context.Context, task Task, r Result) (string, error) {
	b, ok := t.Places.now.Load().find(r.Bucket)
	if !ok {
		return "", Errorf(CodeUnknownBucket, "the bucket %s is not configured any more; ask the operator", r.Bucket)
	}
	own, ok := b.Linker.(ThumbLinker)
	if !ok {
		return "", Errorf(CodeNotSupported, "the bucket %s gives no links", b.Symbol)
	}
	return own.LinkOwn(ctx, ResultKey(task.ProjectID, task.ID, r.Name), linkTTL)
}

// ParseResultKey takes a key apart that begins as those of a project's results; the
// task and the name are "" where it is no result for all that.
func ParseResultKey(key string) (projectID, taskID, name string, ok bool) {
	rest, ok := strings.CutPrefix(key, resultPrefix)
	if !ok {
		return "", "", "", false
	}
	projectID, rest, ok = strings.Cut(rest, "/")
	if !ok || !IsID(projectID) {
		return "", "", "", false
	}
	if id, name, ok := strings.Cut(rest, "/"); ok && IsID(id) && IsResultName(name) {
		return projectID, id, name, true
	}
	return projectID, "", "", true
}
