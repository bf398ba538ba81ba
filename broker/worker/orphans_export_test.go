package worker

import (
	"context"

	"github.com/uploadbroker/uploadbroker/storage"
)

// SweepPage is what the daily comparison does with one page of a LIST.
func (w *Worker) SweepPage(ctx context.Context, b *storage.Bucket, projectID string, objects []storage.Object) (int, error) {
	return w.sweepPage(ctx, b, projectID, objects)
}

// SweepMultiparts is what it does with unfinished uploads.
func (w *Worker) SweepMultiparts(ctx context.Context, b *storage.Bucket, projectID string) (int, error) {
	return w.sweepMultiparts(ctx, b, projectID)
}
