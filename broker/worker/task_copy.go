package worker

import (
	"context"
	"io"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/storage"
)

// copyTask streams what a run made into the bucket that holds most of the task's
// images, and then the task is Done. A copy that broke off begins again and writes
// over what it wrote.
func (w *Worker) copyTask(ctx context.Context, t postgres.TaskWork) error {
	b, err := w.resultBucket(ctx, t.ID)
	if err != nil {
		return err
	}
	made, err := w.Engine.Results(ctx, t.Task)
	if err != nil {
		return engineOr(ctx, err)
	}
	results := make([]broker.Result, 0, len(made))
	seen := map[string]bool{}
	for _, r := range made {
		if !broker.IsResultName(r.Name) || seen[r.Name] {
			return engineFault{broker.Errorf(broker.CodeInvalid, "the engine gives a result a name that can't be, %q", r.Name)}
		}
		seen[r.Name] = true
		result, err := w.copyResult(ctx, b, t.Task, r)
		if err != nil {
			return err
		}
		results = append(results, result)
	}
	moved, err := w.Store.FinishTask(ctx, t.ID, t.Holder, results, w.Now())
	if err != nil || !moved {
		return err
	}
	w.Log.Info("a reconstruction is done", "task", t.ID, "results", len(results), "bucket", b.Info().Symbol)
	return nil
}

// engineOr is the engine's error, unless the step was to end.
func engineOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return engineFault{err}
}

// resultBucket is where a task's results go. One that takes no new grants is written
// to all the same: its images are there.
func (w *Worker) resultBucket(ctx context.Context, taskID string) (*storage.Bucket, error) {
	symbols, err := w.Store.BucketsOfTask(ctx, taskID)
	if err != nil {
		return nil, err
	}
	for _, symbol := range symbols {
		if b, ok := w.Bucket(symbol); ok {
			return b, nil
		}
	}
	return nil, bucketFault{broker.Errorf(broker.CodeUnknownBucket, "no bucket is configured any more that holds images of this reconstruction")}
}

// copyResult streams one file and makes sure that it arrived.
func (w *Worker) copyResult(ctx context.Context, b *storage.Bucket, t broker.Task, r broker.RunResult) (broker.Result, error) {
	body, err := r.Open(ctx)
	if err != nil {
		return broker.Result{}, engineOr(ctx, err)
	}
	defer body.Close()
	key := broker.ResultKey(t.ProjectID, t.ID, r.Name)
	from := &countedBody{r: body}
	put, err := b.Put(ctx, key, from, storage.PutOptions{ContentType: r.Type, SizeBytes: r.SizeBytes})
	switch {
	case ctx.Err() != nil:
		return broker.Result{}, ctx.Err()
	case from.err != nil:
		return broker.Result{}, engineFault{from.err}
	case err != nil:
		return broker.Result{}, bucketFault{err}
	}
	if err := b.Sync(ctx, key); err != nil {
		return broker.Result{}, bucketFault{err}
	}
	lies, err := b.Stat(ctx, key)
	switch {
	case ctx.Err() != nil:
		return broker.Result{}, ctx.Err()
	case err != nil:
		return broker.Result{}, bucketFault{err}
	case lies.SizeBytes != from.n || put.ETag != "" && lies.ETag != put.ETag:
		return broker.Result{}, bucketFault{broker.Errorf(broker.CodeChanged, "the bucket %s holds another %s than was written", b.Info().Symbol, r.Name)}
	}
	return broker.Result{TaskID: t.ID, Name: r.Name, Bucket: b.Info().Symbol, ETag: lies.ETag, SizeBytes: lies.SizeBytes}, nil
}

// countedBody counts what was read, and tells the engine's failures from the bucket's.
type countedBody struct {
	r   io.Reader
	n   int64
	err error
}

func (c *countedBody) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}
