package graphql

import (
	"context"
	"errors"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/api/graphql/schema"
	"github.com/uploadbroker/uploadbroker/broker"
)

// starter is one of the two ways to start a reconstruction.
type starter func(context.Context, broker.Caller, string, broker.StartOptions) (*broker.Task, *broker.TaskFault, error)

func (m mutation) StartReconstructionWithError(ctx context.Context, id string, o *schema.ReconstructionOptions) (*schema.TaskWithError, error) {
	return m.start(ctx, id, o, m.Tasks.Start)
}

func (m mutation) PreStartReconstruction(ctx context.Context, id string, o *schema.ReconstructionOptions) (*schema.TaskWithError, error) {
	return m.start(ctx, id, o, m.Tasks.PreStart)
}

func (m mutation) start(ctx context.Context, id string, o *schema.ReconstructionOptions, start starter) (*schema.TaskWithError, error) {
	by, err := member(ctx)
	if err != nil {
		return nil, err
	}
	options := broker.StartOptions{Type: string(schema.TaskTypeNative)}
	if o != nil && o.TaskType != nil {
		options.Type = string(*o.TaskType)
	}
	if o != nil && o.Expected != nil {
		options.Expected = *o.Expected
	}
	if options.Expected < 0 {
		return nil, broker.Errorf(broker.CodeInvalid, "expected is %d; give the number of images, or leave it out", options.Expected)
	}
	task, fault, err := start(ctx, by, id, options)
	if err != nil {
		return nil, err
	}
	out := &schema.TaskWithError{Task: asTask(task)}
	if fault != nil {
		out.Error = &schema.TaskError{Code: &fault.Number, Message: &fault.Message}
	}
	return out, nil
}

func (m mutation) StopReconstruction(ctx context.Context, id string) (*schema.Task, error) {
	by, err := member(ctx)
	if err != nil {
		return nil, err
	}
	task, err := m.Tasks.Stop(ctx, by, id)
	if err != nil {
		return nil, err
	}
	return asTask(task), nil
}

// asTask gives a task its form; there may be none.
func asTask(t *broker.Task) *schema.Task {
	if t == nil {
		return nil
	}
	return &schema.Task{
		ID: t.ID, TaskType: schema.TaskType(t.Type), State: schema.TaskState(t.State),
		StartDate: t.StartedAt, EndDate: t.EndedAt,
	}
}

// latest finds the newest tasks of projects. Callers without the right to read are
// told of none, as scripts that only upload ask for taskState all the same.
func (f *Face) latest(by broker.Caller, ids []string, done bool) *shared[broker.Task] {
	return &shared[broker.Task]{ids: ids, load: func(ctx context.Context, ids []string) (map[string]broker.Task, error) {
		if !by.Can(broker.ScopeRead) {
			return nil, nil
		}
		return f.Tasks.Latest(ctx, by, ids, done)
	}}
}

// TaskState is that of the newest task.
func (project) TaskState(ctx context.Context, p *schema.Project) (*schema.TaskState, error) {
	t, err := p.Latest(ctx)
	if err != nil || t.ID == "" {
		return nil, err
	}
	state := schema.TaskState(t.State)
	return &state, nil
}

// CloudPath is where the newest results lie.
func (project) CloudPath(ctx context.Context, p *schema.Project) ([]*schema.CloudPath, error) {
	t, err := p.Done(ctx)
	if err != nil || t.ID == "" {
		return nil, err
	}
	return []*schema.CloudPath{{Key: broker.ResultKey(t.ProjectID, t.ID, "")}}, nil
}

// downloadReady is the state of every download: what is not there is not told.
const downloadReady = "Ready"

// Downloads are the newest results.
func (r project) Downloads(ctx context.Context, p *schema.Project) (*schema.DownloadsConnection, error) {
	t, err := p.Done(ctx)
	if err != nil || t.ID == "" {
		return nil, err
	}
	state := downloadReady
	out := &schema.DownloadsConnection{TotalCount: len(t.Results), Edges: make([]*schema.DownloadEdge, len(t.Results))}
	for i, result := range t.Results {
		node := &schema.Downloadable{State: &state, Name: result.Name, Size: &result.SizeBytes, Mtime: &result.CreatedAt}
		link, err := r.Tasks.Link(ctx, t, result)
		var known *broker.Error
		switch {
		case err == nil:
			link = api.Absolute(ctx, link)
			node.Link = &link
		case errors.As(err, &known) && (known.Code == broker.CodeNotSupported || known.Code == broker.CodeUnknownBucket):
		default:
			return nil, err
		}
		out.Edges[i] = &schema.DownloadEdge{Node: node}
	}
	return out, nil
}
