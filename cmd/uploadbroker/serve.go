package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/api/events"
	"github.com/uploadbroker/uploadbroker/api/graphql"
	"github.com/uploadbroker/uploadbroker/api/rest"
	"github.com/uploadbroker/uploadbroker/api/tags"
	"github.com/uploadbroker/uploadbroker/api/web"
	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/archive"
	"github.com/uploadbroker/uploadbroker/broker/fetch"
	"github.com/uploadbroker/uploadbroker/broker/validate"
	"github.com/uploadbroker/uploadbroker/broker/worker"
	"github.com/uploadbroker/uploadbroker/geoip"
)

// serveCmd runs the broker.
type serveCmd struct {
	configFlags
	Listen    string `placeholder:"ADDR" help:"Address and port. Default: 127.0.0.1:8080." env:"UPLOADBROKER_LISTEN"`
	PublicURL string `placeholder:"URL" help:"How clients reach this server. Default: as each request says." env:"UPLOADBROKER_PUBLIC_URL"`
	LAN       bool   `name:"lan" help:"Listen on all interfaces and print how phones and other machines get here."`
	NoWorker  bool   `help:"Leave looks and validations to 'uploadbroker worker' elsewhere."`
	DemoOSS   bool   `name:"demo-oss" help:"Add a bucket of the OSS emulator, on this machine alone, to try STS tokens."`
	Debug     bool   `help:"Log every request."`

	BootstrapKey string `hidden:"" env:"UPLOADBROKER_BOOTSTRAP_KEY"`
}

// Run serves until ctx ends.
func (s *serveCmd) Run(ctx context.Context, io stdio) error {
	var demo *demoOSS // nil: none
	load := func() (config, error) {
		return s.load(func(c *config) {
			if s.PublicURL != "" {
				c.PublicURL = s.PublicURL
			}
			if s.Listen != "" {
				c.Listen = s.Listen
			}
			if s.LAN {
				c.Listen = lanListen(c.Listen)
				c.Tags.addLAN()
			}
			c.drives = true
			demo.add(c)
		})
	}
	c, err := load()
	if err != nil {
		return &exitError{exitUsage, err.Error()}
	}
	if s.BootstrapKey != "" && len(s.BootstrapKey) < broker.MinSecretLen {
		return &exitError{exitUsage, fmt.Sprintf("UPLOADBROKER_BOOTSTRAP_KEY must have %d characters or more", broker.MinSecretLen)}
	}
	if s.NoWorker && c.DatabaseURL == "" {
		return &exitError{exitUsage, "--no-worker needs database_url: on the private database no other process could do the work"}
	}
	level := slog.LevelInfo
	if s.Debug {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(io.Err, &slog.HandlerOptions{Level: level}))

	// The port first: a second server on it should not touch the data.
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return &exitError{exitUsage, fmt.Sprintf("can't listen on %s: %v; choose another with --listen", c.Listen, cause(err))}
	}
	defer listener.Close()
	if s.DemoOSS {
		if demo, err = listenDemoOSS(ctx, listener.Addr()); err != nil {
			return err
		}
		defer demo.listener.Close()
		if c, err = load(); err != nil {
			return &exitError{exitUsage, err.Error()}
		}
	}

	hangup, stop := onHangup()
	defer stop()
	a, err := openApp(ctx, c, log)
	if err != nil {
		return err
	}
	defer a.close()
	a.load, a.hangup = load, hangup
	if demo != nil {
		if err := demo.open(c.DataDir, log); err != nil {
			return err
		}
		a.demo = demo
	}
	var boot broker.Bootstrapped
	if err := a.db.patiently(ctx, log, func() (err error) {
		boot, err = a.keys.Bootstrap(ctx, s.BootstrapKey)
		return err
	}); err != nil {
		return err
	}
	if err := a.db.patiently(ctx, log, func() error { return a.tags.Prepare(ctx) }); err != nil {
		return err
	}
	return a.serve(ctx, listener, !s.NoWorker, func() error {
		return a.db.patiently(ctx, log, func() error { return a.greet(ctx, io.Out, listener.Addr(), boot, s.LAN) })
	})
}

// cause is the innermost error: what the system said.
func cause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// app is the program's parts, wired.
type app struct {
	config  config
	log     *slog.Logger
	db      *database
	buckets *buckets
	metrics *metrics

	keys     *broker.Keys
	projects *broker.Projects
	images   *broker.Images
	zips     *broker.Zips
	tags     *broker.Tags
	arrivals *broker.Arrivals
	tasks    *broker.Tasks
	worker   *worker.Worker
	fetch    *fetch.Client
	graphql  *graphql.Face // once there is a server

	demo     *demoOSS               // nil: none
	load     func() (config, error) // reads the configuration again
	hangup   <-chan os.Signal       // says when
	probeNow chan struct{}          // buckets changed
	blind    atomic.Bool            // arrived fails
}

// openApp opens database and buckets and wires everything; nothing runs yet.
func openApp(ctx context.Context, c config, log *slog.Logger) (_ *app, err error) {
	a := &app{config: c, log: log, metrics: newMetrics(), probeNow: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	if a.db, err = openDatabase(ctx, c, log); err != nil {
		return nil, err
	}
	if err = a.db.patiently(ctx, log, func() error { return a.db.Migrate(ctx) }); err != nil {
		return nil, err
	}
	a.metrics.watchPool(a.db.Pool())
	if a.buckets, err = openBuckets(ctx, c, a.metrics.observe); err != nil {
		return nil, err
	}

	locator, err := geoip.Open(c.GeoIP.options())
	if err != nil {
		return nil, &exitError{exitUsage, err.Error()}
	}
	a.fetch = fetch.New(fetch.Options{
		AllowNetworks: prefixes(c.Fetch.AllowNetworks), MaxBytes: int64(c.Limits.MaxObject), UserAgent: "uploadbroker/" + version(),
	})

	store := a.db.Store
	a.keys = &broker.Keys{Store: store, Now: time.Now}
	a.projects = &broker.Projects{Store: store, Now: time.Now}
	places := broker.NewPlaces(locator, a.buckets.placements()...)
	a.arrivals = &broker.Arrivals{Store: store, Places: places, Now: time.Now}
	a.images = &broker.Images{
		Store: store, Places: places, URLs: a.fetch, Hints: a.arrivals, Log: log, Now: time.Now,
		Limits: broker.Limits{MaxObject: int64(c.Limits.MaxObject), MaxBatch: c.Limits.MaxBatch},
	}
	engine, err := c.openEngine(fetch.New(fetch.Options{ // results are larger than images
		AllowNetworks: prefixes(c.Fetch.AllowNetworks), MaxBytes: maxResult, UserAgent: "uploadbroker/" + version(),
	}), log)
	if err != nil {
		return nil, &exitError{exitUsage, fmt.Sprintf("reconstruction: %v", err)}
	}
	a.tasks = &broker.Tasks{Store: store, Engine: engine, Places: places, Log: log, Now: time.Now}
	a.zips = &broker.Zips{Store: store, Archives: &archive.Archives{Opener: places, Log: log}, Now: time.Now}
	a.tags = &broker.Tags{Store: store, Images: a.images, Zips: a.zips, Policy: c.Tags.policy(), Log: log, Now: time.Now}
	concurrency := c.Worker.Concurrency
	if concurrency == 0 {
		concurrency = runtime.GOMAXPROCS(0)
	}
	a.worker = worker.New(worker.Config{
		Store: store, Buckets: a.buckets.all(), Fetch: a.fetch, Log: log, Concurrency: concurrency,
		Budget: validate.NewBudget(int64(c.Worker.Memory)), MaxObject: int64(c.Limits.MaxObject), MaxPixels: c.Limits.MaxPixels,
		Retention: c.Retention.worker(), Alone: a.db.private != nil, ThumbFailed: a.metrics.thumbFailures(), Now: time.Now,
		Webhooks: c.endpoints(), Delivered: a.metrics.deliveries(), Engine: engine, PublicURL: c.PublicURL,
		Poll: time.Duration(c.Reconstruction.Poll), Patience: time.Duration(c.Reconstruction.Patience),
	})
	return a, nil
}

// close lets everything go, in the order in which nothing misses what is gone.
func (a *app) close() {
	if a.buckets != nil {
		if err := a.buckets.Close(); err != nil {
			a.log.Warn("the local bucket did not close", "err", err)
		}
	}
	if a.db != nil {
		if err := a.db.Close(); err != nil {
			a.log.Warn("the private database did not stop", "err", err)
		}
	}
}

// server is the API with all its faces. What one of them does by itself ends with
// ctx.
func (a *app) server(ctx context.Context) (*http.Server, error) {
	o := api.Options{
		Keys: a.keys, Log: a.log, PublicURL: a.config.PublicURL, TrustedProxies: prefixes(a.config.TrustedProxies),
		CORSOrigins: a.config.CORSOrigins, LocalPath: localPath, Ready: a.db.Ping, Metrics: a.metrics.handler(),
		LocalBucket: a.buckets.handler(a.arrived, a.log),
	}
	e := api.New(o)
	rest.Mount(e, rest.Options{Projects: a.projects, Images: a.images, Zips: a.zips, Tasks: a.tasks, Keys: a.keys, Tags: a.tags, Webhooks: a.db.Store.Endpoints, Log: a.log, Version: version()})
	a.graphql = graphql.Mount(e, graphql.Options{
		Projects: a.projects, Images: a.images, Tasks: a.tasks, Keys: a.keys, Log: a.log, Version: version(),
		NetworkTest: a.fetch.Reach, Now: time.Now,
	})
	events.Mount(e, events.Options{Arrivals: a.arrivals, Log: a.log, Topics: a.arrivals.Topic, Confirm: a.confirm})
	tags.Mount(e, tags.Options{Tags: a.tags, Log: a.log, Session: web.Session(a.keys)})
	web.Mount(e, web.Options{
		Keys: a.keys, Projects: a.projects, Tags: a.tags, Places: a.images.Places, Live: &broker.Live{Store: a.db.Store, Now: time.Now}, Log: a.log,
		Image: func(i broker.Image) any { return rest.ImageOf(i) },
		Task:  func(ctx context.Context, t broker.Task) any { return rest.TaskOf(ctx, t) },
		Done:  ctx.Done(),
	})
	if err := mountJobsPage(ctx, e, a.db.Store, a.keys, a.log); err != nil {
		return nil, err
	}
	return api.Server(e, o), nil
}

// confirm calls the address by which a subscription is confirmed.
func (a *app) confirm(ctx context.Context, url string) error {
	resp, err := a.fetch.Get(ctx, url)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// arrived looks at a key of the local bucket as soon as something was put there.
func (a *app) arrived(key string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := a.worker.LookAt(ctx, a.config.LocalBucket.Symbol, key)
	// A database that is away is one line, not one for each upload.
	switch {
	case err != nil && a.blind.CompareAndSwap(false, true):
		a.log.Warn("could not look at what arrived; the next look will", "err", err)
	case err == nil && a.blind.CompareAndSwap(true, false):
		a.log.Info("can look at what arrives again")
	}
}

// maxResult is the most bytes that a file has which a webhook engine made.
const maxResult = 1 << 40

// shutdownGrace is how long requests may take to end after Ctrl-C.
const shutdownGrace = 10 * time.Second

// serve runs API and workers until ctx ends or a part that they stand on is gone.
func (a *app) serve(ctx context.Context, l net.Listener, work bool, ready func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	server, err := a.server(ctx)
	if err != nil {
		return err
	}
	g.Go(func() error {
		if err := server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		if err := server.Shutdown(stop); err != nil {
			_ = server.Close() // long uploads: their clients try again
		}
		return nil
	})
	if work {
		g.Go(func() error {
			err := a.worker.Run(ctx)
			if err != nil && a.db.private != nil {
				err = a.db.private.Explain(err)
			}
			return err
		})
	}
	if a.load != nil {
		g.Go(func() error { return a.reloadOnHangup(ctx, a.hangup) })
	}
	if a.demo != nil {
		g.Go(func() error { return a.demo.serve(ctx) })
	}
	g.Go(func() error { return a.probe(ctx) })
	g.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-a.db.gone():
			return errors.New("the private Postgres ended; its messages are above")
		case <-a.buckets.gone():
			return errors.New("the local bucket's gateway ended; its messages are above")
		}
	})
	if err := ready(); err != nil {
		cancel()
		_ = g.Wait() // ends because of err
		return err
	}
	return g.Wait()
}

// executable is how the user called this program, for commands to copy.
func executable() string {
	if len(os.Args) > 0 && os.Args[0] != "" {
		return os.Args[0]
	}
	return "uploadbroker"
}
