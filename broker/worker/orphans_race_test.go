package worker_test

import (
	"context"
	"crypto/sha1"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/broker/worker"
)

// TestNoSweepTakesALiveObject lets clients register, upload, look and judge, in any
// order, while sweeps with hardly any retention take all they may and grants end.
// Whatever a client wrote under a grant that lived is there for as long as its
// attempt lives.
func TestNoSweepTakesALiveObject(t *testing.T) {
	const (
		clients = 6
		steps   = 120
	)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	w := newWorld(t)
	w.Retention = worker.Retention{Invalid: time.Millisecond, Orphans: time.Millisecond}
	r := &race{world: w, t: t, p: w.project(t)}

	var sweeps, all sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		sweeps.Go(func() { r.sweepUntil(stop) })
	}
	sweeps.Go(func() { r.endGrantsUntil(stop) })
	for i := range clients {
		all.Go(func() {
			c := &racingClient{race: r, rand: rand.New(rand.NewPCG(seed, uint64(i))), name: i, puts: map[string]string{}}
			c.next()
			for range steps {
				if c.step(); t.Failed() {
					return
				}
			}
		})
	}
	all.Wait()
	close(stop)
	sweeps.Wait()
	t.Logf("%d swept, %d times Ready, %d times Invalid, %d checks", r.swept.Load(), r.ready.Load(), r.invalid.Load(), r.checks.Load())
	if !t.Failed() && (r.swept.Load() == 0 || r.ready.Load() == 0 || r.invalid.Load() == 0 || r.checks.Load() == 0) {
		t.Error("too little happened to prove anything")
	}
}

// race is what the clients share.
type race struct {
	*world
	t *testing.T
	p broker.Project
	// grants is held shared by who uploads: the clock does not jump meanwhile, as no
	// upload lasts for longer than the grace after a grant.
	grants                        sync.RWMutex
	swept, ready, invalid, checks atomic.Int64
}

func (r *race) sweepUntil(stop chan struct{}) {
	ctx := context.Background()
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		for _, symbol := range []string{"A", "B"} {
			b, _ := r.Bucket(symbol)
			if n%2 == 0 {
				objects, err := b.List(ctx, r.p.ID+"/", "", 0)
				if err == nil {
					var n int
					n, err = r.SweepPage(ctx, b, r.p.ID, objects)
					r.swept.Add(int64(n))
				}
				if err != nil {
					r.t.Error(err)
				}
				continue
			}
			var found []worker.Orphan
			err := r.Orphans(ctx, b, func(o worker.Orphan) error { found = append(found, o); return nil })
			if err == nil {
				found, err = r.SweepOrphans(ctx, b, found)
				r.swept.Add(int64(len(found)))
			}
			if err != nil {
				r.t.Error(err)
			}
		}
	}
}

func (r *race) endGrantsUntil(stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(200 * time.Millisecond):
			r.grants.Lock()
			r.clock.pass(grantFor + broker.GraceAfterGrant + time.Minute)
			r.grants.Unlock()
		}
	}
}

// racingClient has one file after the other.
type racingClient struct {
	*race
	rand  *rand.Rand
	data  []byte
	name  int
	files int

	img  broker.Image         // as it was registered last
	ends map[string]time.Time // its grants, by bucket
	puts map[string]string    // ETags of what was written under a grant, by bucket and key
}

// next takes up another file.
func (c *racingClient) next() {
	c.files++
	c.data, c.img, c.ends = photo(c.name+10*c.files), broker.Image{}, nil
}

func (c *racingClient) driver(symbol string) *faultyDriver {
	if symbol == "B" {
		return c.b
	}
	return c.a
}

func (c *racingClient) step() {
	ctx := context.Background()
	symbol := []string{"A", "A", "B"}[c.rand.IntN(3)]
	switch n := c.rand.IntN(10); {
	case c.img.ID == "" && n < 3: // what a forgotten database left where the image will be
		sum := sha1.Sum(c.data)
		put(c.t, c.driver(symbol), fmt.Sprintf("%s/%x.jpg", c.p.ID, sum), c.data)
	case c.img.ID == "" || n < 2 || n < 6 && !c.clock.now().Before(c.ends[symbol]):
		now := c.clock.now()
		img := c.register(c.t, c.p, symbol, c.data)[0]
		if img.Attempt != c.img.Attempt {
			c.ends = map[string]time.Time{}
		}
		c.img = img
		switch {
		case img.State.Open():
			c.ends[symbol] = now.Add(grantFor)
		case img.State == broker.StateReady:
			c.check(ctx)
			c.next()
		}
	case n < 6:
		data := c.data
		if c.rand.IntN(2) == 0 {
			data = photo(1000 + c.rand.IntN(100))
		}
		c.grants.RLock()
		if c.clock.now().Before(c.ends[symbol]) {
			c.puts[symbol+c.img.Key()] = put(c.t, c.driver(symbol), c.img.Key(), data)
		}
		c.grants.RUnlock()
	case n == 6:
		if err := c.LookAt(ctx, symbol, c.img.Key()); err != nil {
			c.t.Error(err)
		}
	case n == 7:
		if _, err := c.Look(ctx, postgres.Watch{ProjectID: c.p.ID, Bucket: symbol, Pause: time.Second}); err != nil {
			c.t.Error(err)
		}
	default:
		c.judge(ctx)
	}
	c.check(ctx)
}

func (c *racingClient) judge(ctx context.Context) {
	img := c.image(c.t, c.img)
	if img.State != broker.StateUploaded {
		return
	}
	// It may have been overwritten since: then the check fails, and is tried again.
	if err := c.Validate(ctx, argsOf(img)); err != nil {
		return
	}
	switch c.image(c.t, c.img).State {
	case broker.StateReady:
		c.ready.Add(1)
		if c.rand.IntN(2) == 0 {
			c.check(ctx)
			c.next()
		}
	case broker.StateInvalid:
		c.invalid.Add(1)
	}
}

// check fails the test when an object is missing that the image needs, or that a
// look has still to see.
func (c *racingClient) check(ctx context.Context) {
	if c.img.ID == "" {
		return
	}
	for _, symbol := range []string{"A", "B"} {
		img := c.image(c.t, c.img)
		etag, mine := c.puts[symbol+img.Key()]
		switch {
		case img.Bucket == "" && mine: // nobody saw it yet
		case img.Bucket == symbol && img.State != broker.StateInvalid:
		case img.Bucket == symbol && mine && etag != img.ETag: // news
		default:
			continue
		}
		c.checks.Add(1)
		obj, err := c.driver(symbol).Bucket.Stat(ctx, img.Key())
		if err == nil && (obj.ETag == etag || obj.ETag == img.ETag) {
			continue
		}
		// The others' looks may have moved it meanwhile.
		if now := c.image(c.t, c.img); now.State != img.State || now.Bucket != img.Bucket || now.ETag != img.ETag {
			continue
		}
		c.t.Errorf("client %d: %s in %s, %s, attempt %d, seen %s in %q: the object is %+v, %v; written was %s",
			c.name, img.Key(), symbol, img.State, img.Attempt, img.ETag, img.Bucket, obj, err, etag)
	}
}
