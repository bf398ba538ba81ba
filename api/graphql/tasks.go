package graphql

import (
	"context"

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
