package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// chaos does to machines, lines and Postgres what a seed says.
type chaos struct {
	soak *soak
	rand *rand.Rand
	wait sync.WaitGroup // for faults that last

	mu   sync.Mutex
	done map[string]int // what happened how often
}

const (
	killEvery = 2 * time.Second
	// How long a fault lasts, and how long until the next begins.
	faultMin, faultMax           = time.Second, 8 * time.Second
	faultEveryMin, faultEveryMax = 500 * time.Millisecond, 1500 * time.Millisecond
)

func newChaos(s *soak, seed uint64) *chaos {
	return &chaos{soak: s, rand: rand.New(rand.NewPCG(seed, 0)), done: map[string]int{}}
}

func (c *chaos) count(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done[what]++
}

// run goes on until ctx ends, then mends everything.
func (c *chaos) run(ctx context.Context, length time.Duration) {
	// Each loop has a source of its own: how fast one goes must not change what
	// the other does.
	kills, faults := rand.New(rand.NewPCG(c.rand.Uint64(), 1)), rand.New(rand.NewPCG(c.rand.Uint64(), 2))
	loss := time.Duration((0.3 + 0.4*c.rand.Float64()) * float64(length))
	kill, away := c.rand.IntN(2) == 0, time.Duration(c.rand.IntN(4000))*time.Millisecond
	c.wait.Go(func() { c.killing(ctx, kills) })
	c.wait.Go(func() { c.spoiling(ctx, faults) })
	c.wait.Go(func() {
		if pause(ctx, loss) {
			c.soak.t.Logf("Postgres is lost after %s (kill -9: %v) and comes back after %s", loss.Round(time.Second), kill, away)
			c.soak.postgres.lose(kill, away)
			c.count("postgres")
		}
	})
	c.wait.Wait()
	c.soak.lines.mendAll()
}

// pause reports false when ctx ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// killing kills one machine after the other.
func (c *chaos) killing(ctx context.Context, r *rand.Rand) {
	for pause(ctx, killEvery) {
		at := r.IntN(len(c.soak.machines))
		for i := range c.soak.machines { // that one, or the next that runs
			if c.soak.machines[(at+i)%len(c.soak.machines)].kill() {
				c.count("kills")
				break
			}
		}
	}
}

// spoiling disturbs lines: each kind of fault comes at each group of lines before
// one comes again.
func (c *chaos) spoiling(ctx context.Context, r *rand.Rand) {
	groups := c.soak.groups()
	names := slices.Sorted(maps.Keys(groups))
	var deck [][2]string
	for pause(ctx, faultEveryMin+time.Duration(r.Int64N(int64(faultEveryMax-faultEveryMin)))) {
		if len(deck) == 0 {
			for _, group := range names {
				for _, kind := range faultKinds {
					deck = append(deck, [2]string{group, kind})
				}
			}
			r.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		group, kind := deck[0][0], deck[0][1]
		deck = deck[1:]
		f := newFault(kind, r)
		lasts := faultMin + time.Duration(r.Int64N(int64(faultMax-faultMin)))
		var spoilt []string
		for _, line := range groups[group] {
			if c.soak.lines.spoil(line, f) {
				spoilt = append(spoilt, line)
			}
		}
		if len(spoilt) == 0 {
			continue
		}
		c.count(kind)
		c.wait.Go(func() {
			pause(ctx, lasts)
			for _, line := range spoilt {
				c.soak.lines.mend(line)
			}
		})
	}
}

// idle names what should have happened and did not.
func (c *chaos) idle() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, what := range append([]string{"kills", "postgres"}, faultKinds...) {
		if c.done[what] == 0 {
			return what
		}
	}
	return ""
}

// String is what happened, for the summary.
func (c *chaos) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("kills=%d cuts=%d hangs=%d resets=%d slow=%d late=%d postgres=%d",
		c.done["kills"], c.done["cut"], c.done["hang"], c.done["reset"], c.done["slow"], c.done["late"], c.done["postgres"])
}
