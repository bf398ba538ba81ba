package worker

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// compareTime bounds one comparison; what a bucket does not get done is done the
// next time.
const compareTime = 10 * time.Minute

// reconcileDue compares the etags of a prefix with what the images hold: what was
// overwritten is judged again. It does so once a day, and more often while a grant
// is out.
func (w *Worker) reconcileDue(ctx context.Context) error {
	for symbol, room := range w.compares.free(w.buckets.Load().symbols) {
		due, err := w.Store.ClaimReconciles(ctx, []string{symbol}, room)
		if err != nil {
			return err
		}
		for _, c := range due {
			w.compares.begin(symbol, func() {
				ctx, cancel := context.WithTimeout(ctx, compareTime)
				defer cancel()
				_, err := w.compare(ctx, c.ProjectID, symbol, c.Sweep)
				if err == nil && !c.Granted {
					err = w.Store.FinishReconcile(ctx, c)
				}
				if err != nil && !errors.Is(err, context.Canceled) {
					w.Log.Error("could not compare etags; it is tried again in some minutes", "at", c.ProjectID+" in "+symbol, "err", err)
				}
			})
		}
	}
	return nil
}

// Reconcile compares one prefix at once and returns how many images moved. What the
// same LIST shows to be over is deleted.
func (w *Worker) Reconcile(ctx context.Context, projectID, symbol string) (int, error) {
	return w.compare(ctx, projectID, symbol, true)
}

// compare is Reconcile, which need not delete anything.
func (w *Worker) compare(ctx context.Context, projectID, symbol string, sweep bool) (int, error) {
	return w.compareEach(ctx, projectID, symbol, sweep, func([]storage.Object) {})
}

// compareEach is compare that tells each of what lies there.
func (w *Worker) compareEach(ctx context.Context, projectID, symbol string, sweep bool, each func([]storage.Object)) (int, error) {
	b, ok := w.Bucket(symbol)
	if !ok {
		return 0, broker.Errorf(broker.CodeUnknownBucket, "no bucket %s is configured", symbol)
	}
	prefix, after, moved := projectID+"/", "", 0
	for {
		objects, err := b.List(ctx, prefix, after, listPage)
		if err != nil {
			return moved, err
		}
		if len(objects) == 0 {
			break
		}
		after = objects[len(objects)-1].Key
		each(objects)
		changed, err := w.changed(ctx, projectID, symbol, objects)
		if err != nil {
			return moved, err
		}
		n, err := w.see(ctx, b, projectID, changed)
		moved += n
		if err != nil {
			return moved, err
		}
		if sweep {
			if _, err := w.sweepPage(ctx, b, projectID, objects); err != nil {
				return moved, err
			}
		}
		if len(objects) < listPage {
			break
		}
	}
	if !sweep {
		return moved, nil
	}
	if _, err := w.sweepOwn(ctx, b, projectID); err != nil {
		return moved, err
	}
	_, err := w.sweepMultiparts(ctx, b, projectID)
	return moved, err
}

// changed leaves out the objects that the images hold already.
func (w *Worker) changed(ctx context.Context, projectID, symbol string, objects []storage.Object) ([]storage.Object, error) {
	filenames := make([]string, len(objects))
	for i, obj := range objects {
		filenames[i] = strings.TrimPrefix(obj.Key, projectID+"/")
	}
	held, err := w.Store.HeldETags(ctx, projectID, symbol, filenames)
	if err != nil {
		return nil, err
	}
	var changed []storage.Object
	for i, obj := range objects {
		if held[filenames[i]] != obj.ETag {
			changed = append(changed, obj)
		}
	}
	return changed, nil
}
