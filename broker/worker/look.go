package worker

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/storage"
)

// A look that finds something is followed by another soon; one that finds
// nothing lets the next wait longer.
const (
	minPause   = time.Second
	maxPause   = time.Minute
	pauseGrows = 1.1  // so that the pause is a tenth of the time in which nothing came
	faultGrows = 1.5  // of a place that can't be looked at
	listPage   = 1000 // objects of one LIST, the most that S3 gives
	lookTime   = time.Minute
)

// Looked says what a look did.
type Looked struct {
	Open     int // images that waited for their bytes
	Requests int // HEADs and LISTs
	Seen     int // objects found at their keys
	Moved    int // images that became Uploaded
	Expired  int // images that became Invalid(expired)
}

// lookAtDue begins a look at every place that is due, as far as its bucket has
// room.
func (w *Worker) lookAtDue(ctx context.Context) error {
	free := w.looks.free(w.buckets.Load().symbols)
	if len(free) == 0 {
		return nil
	}
	watches, err := w.Store.ClaimWatches(ctx, free)
	if err != nil {
		return err
	}
	for _, watch := range watches {
		w.looks.begin(watch.Bucket, func() {
			ctx, cancel := context.WithTimeout(ctx, lookTime)
			defer cancel()
			_, err := w.Look(ctx, watch)
			w.looked(ctx, watch, err)
		})
	}
	return nil
}

// Look sweeps one project's prefix in one bucket. It costs the lesser of one
// HEAD for each open image and a LIST of the prefix, as far as that can be known
// beforehand: the length of the last LIST is remembered with the watch.
func (w *Worker) Look(ctx context.Context, watch postgres.Watch) (Looked, error) {
	bucket, ok := w.Bucket(watch.Bucket)
	if !ok {
		return Looked{}, broker.Errorf(broker.CodeUnknownBucket, "no bucket %s is configured", watch.Bucket)
	}
	open, err := w.Store.OpenUploads(ctx, watch.ProjectID, watch.Bucket, w.Now())
	if err != nil {
		return Looked{}, err
	}
	l := Looked{Open: len(open)}
	if len(open) == 0 {
		return l, w.Store.Sleep(ctx, watch)
	}
	if watch.Pages == 0 {
		n, err := w.Store.CountObjects(ctx, watch.ProjectID, watch.Bucket)
		if err != nil {
			return l, err
		}
		watch.Pages = 1 + n/listPage
	}

	found := map[string]storage.Object{}
	if len(open) <= watch.Pages {
		err = w.head(ctx, bucket, watch, open, found)
		l.Requests += len(open)
	} else {
		watch.Pages, err = w.list(ctx, bucket, watch, open, found)
		l.Requests += watch.Pages
	}
	if err != nil {
		return l, err
	}
	l.Seen = len(found)
	if l.Moved, err = w.see(ctx, bucket, watch.ProjectID, slices.Collect(maps.Values(found))); err != nil {
		return l, err
	}
	if l.Expired, err = w.expire(ctx, watch, open, found, &l); err != nil {
		return l, err
	}

	if err := w.Store.TakeHints(ctx, watch.Bucket, open); err != nil {
		return l, err
	}
	if l.Moved+l.Expired > 0 {
		watch.Pause = minPause
	} else {
		watch.Pause = min(time.Duration(float64(watch.Pause)*pauseGrows), maxPause)
	}
	return l, w.Store.FinishLook(ctx, watch)
}

// looked lets a place that can't be looked at wait longer each time, and logs its
// fault when it begins, changes and passes.
func (w *Worker) looked(ctx context.Context, watch postgres.Watch, err error) {
	place := watch.ProjectID + " in " + watch.Bucket
	code := broker.CodeOf(err)
	switch was, faulty := w.faults.Load(place); {
	case err == nil && faulty:
		w.faults.Delete(place)
		w.Log.Info("can look again", "at", place)
	case err != nil && was != code && !errors.Is(err, context.Canceled):
		w.faults.Store(place, code)
		w.Log.Error("could not look; it is tried again at growing intervals", "at", place, "err", err)
	}
	if err == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	watch.Pause = min(time.Duration(float64(watch.Pause)*faultGrows), maxPause)
	// Should the database be away, too, the claim has set a time already.
	_ = w.Store.LookFailed(ctx, watch, spread(watch.Pause), faultText(err))
}

// faultText is what an operator is told of a fault: what may be shown.
func faultText(err error) string {
	var known *broker.Error
	if errors.As(err, &known) && known.Msg != "" {
		return string(known.Code) + ": " + known.Msg
	}
	return string(broker.CodeOf(err))
}

// head asks for each open image by itself.
func (w *Worker) head(ctx context.Context, b *storage.Bucket, watch postgres.Watch, open []broker.OpenUpload, found map[string]storage.Object) error {
	objects := make([]*storage.Object, len(open))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(looksAtOnce)
	for i, u := range open {
		g.Go(func() error {
			obj, err := b.Stat(ctx, watch.ProjectID+"/"+u.Filename)
			switch {
			case broker.CodeOf(err) == broker.CodeNotFound:
				return nil
			case err != nil:
				return err
			}
			objects[i] = &obj
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, obj := range objects {
		if obj != nil {
			found[obj.Key] = *obj
		}
	}
	return nil
}

// list reads the prefix from its start to the last open key, and returns the
// requests it took.
func (w *Worker) list(ctx context.Context, b *storage.Bucket, watch postgres.Watch, open []broker.OpenUpload, found map[string]storage.Object) (int, error) {
	prefix := watch.ProjectID + "/"
	wanted := make(map[string]bool, len(open))
	last := ""
	for _, u := range open {
		key := prefix + u.Filename
		wanted[key] = true
		last = max(last, key)
	}
	after := ""
	for pages := 1; ; pages++ {
		objects, err := b.List(ctx, prefix, after, listPage)
		if err != nil {
			return pages, err
		}
		for _, obj := range objects {
			if wanted[obj.Key] {
				found[obj.Key] = obj
			}
			after = obj.Key
		}
		if len(objects) < listPage || after >= last {
			return pages, nil
		}
	}
}

// see tells the store what was found. Where a disk is asked, it first holds the
// objects so that they outlive a loss of power.
func (w *Worker) see(ctx context.Context, b *storage.Bucket, projectID string, objects []storage.Object) (int, error) {
	seen := make([]broker.Seen, 0, len(objects))
	for _, obj := range objects {
		if b.NeedsSync() {
			if err := b.Sync(ctx, obj.Key); broker.CodeOf(err) == broker.CodeNotFound {
				continue // deleted meanwhile
			} else if err != nil {
				return 0, err
			}
		}
		seen = append(seen, broker.Seen{
			Bucket: b.Info().Symbol, ProjectID: projectID, Filename: strings.TrimPrefix(obj.Key, projectID+"/"),
			ETag: obj.ETag, SizeBytes: obj.SizeBytes,
		})
	}
	return w.Store.See(ctx, projectID, b.Info().Symbol, seen, w.Now())
}

// expireBatch is how many images are expired together: what a look got done stays
// done when its time ends.
const expireBatch = 200

// expire ends the uploads whose grants are over and whose object is in none of
// the buckets that they were granted.
func (w *Worker) expire(ctx context.Context, watch postgres.Watch, open []broker.OpenUpload, found map[string]storage.Object, l *Looked) (expired int, err error) {
	var over []broker.OpenUpload
	for _, u := range open {
		if _, here := found[watch.ProjectID+"/"+u.Filename]; !here && u.GrantsEnded && u.HintedAt.IsZero() {
			over = append(over, u)
		}
	}
	for batch := range slices.Chunk(over, expireBatch) {
		absent, err := w.nowhereElse(ctx, watch, batch, l)
		if err != nil {
			return expired, err
		}
		n, err := w.Store.Expire(ctx, absent, w.Now())
		expired += n
		if err != nil {
			return expired, err
		}
	}
	return expired, nil
}

// nowhereElse asks the other buckets that uploads were granted, takes in what lies
// there, and returns the uploads that lie nowhere.
func (w *Worker) nowhereElse(ctx context.Context, watch postgres.Watch, batch []broker.OpenUpload, l *Looked) (absent []broker.OpenUpload, err error) {
	var mu sync.Mutex
	elsewhere := map[string]bool{} // by image
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(looksAtOnce)
	for _, u := range batch {
		for _, symbol := range u.Buckets {
			b, configured := w.Bucket(symbol)
			if symbol == watch.Bucket || !configured {
				continue
			}
			l.Requests++
			g.Go(func() error {
				obj, err := b.Stat(ctx, watch.ProjectID+"/"+u.Filename)
				if broker.CodeOf(err) == broker.CodeNotFound {
					return nil
				}
				if err == nil {
					_, err = w.see(ctx, b, watch.ProjectID, []storage.Object{obj})
				}
				mu.Lock()
				defer mu.Unlock()
				elsewhere[u.ImageID] = true
				return err // not knowing is no reason to expire
			})
		}
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(batch), func(u broker.OpenUpload) bool { return elsewhere[u.ImageID] }), nil
}

// LookAt looks at one key at once: a bucket said that something arrived there.
// It is a hint like any other; what is not there has not arrived.
func (w *Worker) LookAt(ctx context.Context, symbol, key string) error {
	b, ok := w.Bucket(symbol)
	if !ok {
		return broker.Errorf(broker.CodeUnknownBucket, "no bucket %s is configured", symbol)
	}
	projectID, _, ok := strings.Cut(key, "/")
	if !ok || !broker.IsID(projectID) {
		return nil // not ours
	}
	obj, err := b.Stat(ctx, key)
	if broker.CodeOf(err) == broker.CodeNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = w.see(ctx, b, projectID, []storage.Object{obj})
	return err
}
