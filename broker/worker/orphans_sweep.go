package worker

import (
	"context"
	"slices"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// sweepPage deletes, of the objects of one project that a LIST told of, those that
// rows prove to be over and whose retention has passed.
func (w *Worker) sweepPage(ctx context.Context, b *storage.Bucket, projectID string, objects []storage.Object) (swept int, err error) {
	page := make([]Orphan, len(objects))
	for i, obj := range objects {
		page[i] = w.orphan(b, obj)
	}
	return w.sweepOf(ctx, b, projectID, page)
}

// sweepOwn deletes, of the thumbnails and results of one project, those that rows
// prove to be over and whose retention has passed.
func (w *Worker) sweepOwn(ctx context.Context, b *storage.Bucket, projectID string) (swept int, err error) {
	if w.Retention.Orphans <= 0 {
		return 0, nil
	}
	for _, prefix := range []string{broker.ThumbPrefix(projectID), broker.ResultPrefix(projectID)} {
		for after := ""; ; {
			page, err := b.List(ctx, prefix, after, listPage)
			if err != nil {
				return swept, err
			}
			if len(page) == 0 {
				break
			}
			after = page[len(page)-1].Key
			n, err := w.sweepPage(ctx, b, projectID, page)
			if swept += n; err != nil {
				return swept, err
			}
			if len(page) < listPage {
				break
			}
		}
	}
	return swept, nil
}

// sweepMultiparts ends the uploads in parts of one project that were begun longer
// ago than the retention of orphans and belong to no open image, and cleans up.
func (w *Worker) sweepMultiparts(ctx context.Context, b *storage.Bucket, projectID string) (swept int, err error) {
	if w.Retention.Orphans <= 0 {
		return 0, nil
	}
	for _, prefix := range []string{projectID + "/", broker.ResultPrefix(projectID)} {
		if b.CanSweepMultiparts() {
			ups, err := b.Multiparts(ctx, prefix)
			if err != nil {
				return swept, err
			}
			page := make([]Orphan, len(ups))
			for i, up := range ups {
				page[i] = w.multipart(b, up)
			}
			n, err := w.sweepOf(ctx, b, projectID, page)
			if swept += n; err != nil {
				return swept, err
			}
		}
		if _, err = b.Clean(ctx, prefix, w.Now().Add(-w.Retention.Orphans)); err != nil {
			return swept, err
		}
	}
	return swept, nil
}

// sweepOf sweeps what the worker sweeps by itself.
func (w *Worker) sweepOf(ctx context.Context, b *storage.Bucket, projectID string, page []Orphan) (int, error) {
	if len(page) == 0 {
		return 0, nil
	}
	classified, err := w.classify(ctx, b, projectID, page)
	if err != nil {
		return 0, err
	}
	swept, err := w.SweepOrphans(ctx, b, slices.DeleteFunc(classified, func(o Orphan) bool { return !o.Class.byItself() }))
	return len(swept), err
}
