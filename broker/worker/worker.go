// Package worker learns what arrived and judges it.
//
// Several things run in it until Run's context ends: looks at the places that are
// due (package postgres keeps them as rows), River jobs that validate objects,
// fetch the URLs that clients name and deliver webhooks, the dispatch of events to
// these, and sweeps that pick up what a killed process left, delete what was removed,
// and compare etags once a day. Any number of
// workers may share a database and its buckets; each may be killed at any moment.
//
// Permissions needed: read, list, write and delete in every bucket, and the same
// for uploads in parts. Side effects: it writes what it fetches where nothing is
// yet, and thumbnails below "thumbs/", and deletes the objects of removed images and
// projects and, after their retention, of Invalid images and ended attempts,
// thumbnails that are nobody's, and uploads in parts that were never finished;
// package fetch reaches out.
package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/fetch"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/broker/validate"
	"github.com/uploadbroker/uploadbroker/storage"
)

// Config is what a Worker needs.
type Config struct {
	Store   *postgres.Store
	Buckets []*storage.Bucket // at the start, see SetBuckets
	Log     *slog.Logger
	Fetch   *fetch.Client // for URLs that clients name; nil: none is fetched

	Concurrency int              // validations at once; at least 1
	Budget      *validate.Budget // bytes for decoders that hold a bitmap
	MaxObject   int64            // bytes
	MaxPixels   int64
	Retention   Retention // of what serves no image any more

	// ThumbFailed is told of each thumbnail that could not be stored, with its
	// bucket's symbol; nil: nobody is.
	ThumbFailed func(symbol string, code broker.Code)

	Webhooks  []Endpoint                // who is told what happens; needs Fetch
	Delivered func(host, result string) // is told of each try to; nil: nobody is

	Engine    broker.Engine // that runs reconstructions; nil: none does
	Poll      time.Duration // how often it is asked about a run; 0: 5 s
	Patience  time.Duration // for how long one that is away is waited for; 0: an hour
	PublicURL string        // where an engine reaches the API

	// Alone says that no other process works on this database, so that leases
	// found at the start belong to the dead.
	Alone bool
	Now   func() time.Time
}

// Worker looks, validates and sweeps.
type Worker struct {
	Config
	id       string // tells this process's leases from others'
	began    time.Time
	slots    chan struct{}
	trouble  *trouble
	looks    *rooms
	compares *rooms
	polls    *rooms                    // calls of the engine that take a moment
	streams  *rooms                    // those that move bytes
	unseen   map[broker.EngineKind]int // see watchEngines
	faults   sync.Map                  // the place of a look that fails, to its broker.Code
	buckets  atomic.Pointer[bucketSet]

	endpoints    map[string]Endpoint // of Webhooks, by their ids
	pauseOfTests time.Duration       // 0: deliverPauses

	leaseEvery time.Duration // how often a lease is extended
	taskEvery  time.Duration // how often a task is held further
	watchEvery time.Duration // how often a read that waits is noticed
	firstPause time.Duration // before a read that broke off goes on

	image func(context.Context, validate.Source, validate.Want) (broker.Verdict, error) // validate.Image, but in tests
}

// The rhythm of the work.
const (
	lookEvery      = 250 * time.Millisecond // how often due watches are asked for
	looksAtOnce    = 8                      // in one bucket, and the HEADs of one look
	comparesAtOnce = 2                      // in one bucket
	sweepEvery     = 15 * time.Second
	dispatchEvery  = 500 * time.Millisecond
	reconcileEvery = 15 * time.Second
	leaseGrace     = time.Minute // a lease's length: an Uploaded image without one for longer is requeued
	batch          = 1000
	jobsPerSlot    = 8 // jobs held for each validation that may run

	failedRetention = 30 * 24 * time.Hour
)

// New makes a worker.
func New(c Config) *Worker {
	w := &Worker{
		Config: c, id: broker.NewID(c.Now()), began: c.Now(), slots: make(chan struct{}, max(c.Concurrency, 1)), trouble: newTrouble(c.Now),
		looks: newRooms(looksAtOnce), compares: newRooms(comparesAtOnce),
		polls: newRooms(pollsAtOnce), streams: newRooms(streamsAtOnce),
		image: validate.Image, leaseEvery: leaseExtendEvery, taskEvery: extendTaskEvery, watchEvery: yieldAfter / 4, firstPause: firstPause,
	}
	w.endpoints = make(map[string]Endpoint, len(c.Webhooks))
	for _, e := range c.Webhooks {
		w.endpoints[e.ID()] = e
	}
	w.Poll, w.Patience = cmp.Or(w.Poll, defaultPoll), cmp.Or(w.Patience, defaultPatience)
	w.SetBuckets(c.Buckets)
	return w
}

// bucketSet are the buckets of a moment.
type bucketSet struct {
	all      []*storage.Bucket
	bySymbol map[string]*storage.Bucket
	symbols  []string
}

// SetBuckets replaces the buckets while the worker runs; what is under way ends
// with those that it began with.
func (w *Worker) SetBuckets(all []*storage.Bucket) {
	set := &bucketSet{all: all, bySymbol: make(map[string]*storage.Bucket, len(all))}
	for _, b := range all {
		set.bySymbol[b.Info().Symbol] = b
		set.symbols = append(set.symbols, b.Info().Symbol)
	}
	w.buckets.Store(set)
}

// Bucket finds a configured bucket.
func (w *Worker) Bucket(symbol string) (*storage.Bucket, bool) {
	b, ok := w.buckets.Load().bySymbol[symbol]
	return b, ok
}

// Run works until ctx ends, then lets go of what it holds and returns nil. An
// error means that it could not begin.
func (w *Worker) Run(ctx context.Context) error {
	client, err := w.start(ctx)
	if ctx.Err() != nil && err != nil {
		return nil // told to stop before it began
	}
	if err != nil {
		return err
	}
	var loops sync.WaitGroup
	loops.Go(func() { w.every(ctx, lookEvery, "look", w.lookAtDue) })
	loops.Go(func() { w.every(ctx, dispatchEvery, "dispatch events", w.dispatch) })
	loops.Go(func() { w.every(ctx, nameEndpointsEvery, "keep the endpoints of webhooks", w.keepEndpoints) })
	loops.Go(func() { w.every(ctx, sweepEvery, "queue what nobody is at", w.requeueLost) })
	loops.Go(func() { w.every(ctx, sweepEvery, "sweep", w.sweepRemoved) })
	loops.Go(func() { w.every(ctx, reconcileEvery, "compare etags", w.reconcileDue) })
	loops.Go(func() { w.every(ctx, tasksEvery, "run reconstructions", w.driveTasks) })
	loops.Go(func() { w.every(ctx, enginesEvery, "see who has an engine", w.watchEngines) })
	<-ctx.Done()
	loops.Wait()

	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	w.looks.wait(stop)
	w.compares.wait(stop)
	w.polls.wait(stop)
	w.streams.wait(stop)
	if err := client.StopAndCancel(stop); err != nil && !errors.Is(err, context.Canceled) {
		w.Log.Warn("jobs did not stop in time; their leases end by themselves", "err", err)
	}
	return nil
}

// Beginning on a database that goes away just then.
const (
	startTries = 10 // with a database that answers
	startPause = 500 * time.Millisecond
)

// start begins River, and waits for a database that is away meanwhile.
func (w *Worker) start(ctx context.Context) (*river.Client[pgxTx], error) {
	for try := 1; ; {
		client, err := w.tryStart(ctx)
		if err == nil || try == startTries {
			return client, err
		}
		if w.Store.Ping(ctx) == nil {
			try++
		}
		w.Log.Warn("could not begin to work; it is tried again", "err", err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(startPause):
		}
	}
}

func (w *Worker) tryStart(ctx context.Context) (*river.Client[pgxTx], error) {
	if w.Alone {
		if err := w.Store.DropLeases(ctx); err != nil {
			return nil, err
		}
		if err := w.requeue(ctx, w.Now()); err != nil {
			return nil, err
		}
		if err := w.Store.DropTaskHolders(ctx); err != nil {
			return nil, err
		}
	}
	if err := w.nameEndpoints(ctx, true); err != nil {
		return nil, err
	}
	client, err := w.river()
	if err != nil {
		return nil, fmt.Errorf("make the job worker: %w", err)
	}
	// River stops by its own call, so that jobs can give their leases back.
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return nil, fmt.Errorf("start the job worker: %w", err)
	}
	return client, nil
}

// every runs f again and again. An error is logged once until it changes or
// passes: a database that is away for an hour is one line, not a thousand.
func (w *Worker) every(ctx context.Context, pause time.Duration, what string, f func(context.Context) error) {
	last := ""
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		err := f(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && string(broker.CodeOf(err)) != last:
			last = string(broker.CodeOf(err))
			w.Log.Error("could not "+what, "err", err)
		case err == nil && last != "":
			last = ""
			w.Log.Info("can " + what + " again")
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w *Worker) river() (*river.Client[pgxTx], error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, &validation{w: w})
	river.AddWorker(workers, &fetching{w: w})
	queues := map[string]river.QueueConfig{
		// River fetches for free places only, and no faster than its cooldown: a
		// few jobs wait here for a slot, or small images would wait for the fetch.
		postgres.JobQueue:   {MaxWorkers: w.Concurrency * jobsPerSlot},
		postgres.FetchQueue: {MaxWorkers: fetchesAtOnce},
	}
	w.addDeliveries(queues, workers)
	return river.NewClient(riverpgxv5.New(w.Store.Pool()), &river.Config{
		Queues:  queues,
		Workers: workers,
		Logger:  slog.New(quiet{w.Log.Handler()}),
		// The defaults fit jobs of seconds; ours may read gigabytes.
		JobTimeout:           -1,                                               // see validation.Work, which counts from when it has a slot
		RescueStuckJobsAfter: jobsPerSlot*w.timeout(w.MaxObject) + time.Minute, // see requeueLost, which is quicker
		// What failed for good stays to be seen, and to be tried again.
		CancelledJobRetentionPeriod: failedRetention,
		DiscardedJobRetentionPeriod: failedRetention,
		FetchCooldown:               5 * time.Millisecond,
		FetchPollInterval:           time.Second,
	})
}

// timeout is how long a validation of so many bytes may take.
func (w *Worker) timeout(sizeBytes int64) time.Duration {
	return 15*time.Minute + time.Duration(sizeBytes/1_000_000)*time.Second
}

// Sweep does once what runs every quarter of a minute: validations whose worker
// died are queued again, and removed objects are deleted.
func (w *Worker) Sweep(ctx context.Context) error {
	return errors.Join(w.requeueLost(ctx), w.sweepRemoved(ctx))
}

// sweepRemoved deletes what was removed, and forgets what has ended.
func (w *Worker) sweepRemoved(ctx context.Context) error {
	return errors.Join(
		w.sweepRemovedImages(ctx),
		w.sweepRemovedProjects(ctx),
		w.Store.SweepSessions(ctx, w.Now()),
		w.sweepEvents(ctx),
	)
}

// requeueLost finds the work of workers that died a lease's length ago. It asks the
// database alone: no bucket can hold it up.
func (w *Worker) requeueLost(ctx context.Context) error {
	return w.requeue(ctx, w.Now().Add(-leaseGrace))
}

func (w *Worker) requeue(ctx context.Context, before time.Time) error {
	n, err := w.Store.RescueJobs(ctx, before)
	if err != nil {
		return err
	}
	deliveries, err := w.Store.RescueDeliveries(ctx, before)
	if err != nil {
		return err
	}
	n += deliveries
	for {
		more, err := w.Store.RequeueUnheld(ctx, before, batch)
		if err != nil {
			return err
		}
		if n += more; more < batch {
			break
		}
	}
	if n > 0 {
		w.Log.Info("queued jobs again that nobody was at", "jobs", n)
	}
	return w.Store.ForgetLeases(ctx)
}
