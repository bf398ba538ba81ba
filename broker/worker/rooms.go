package worker

import (
	"context"
	"sync"
)

// rooms bounds what runs at once in each bucket, so that one that hangs keeps
// nothing from the others.
type rooms struct {
	each int // at once in one bucket

	mu      sync.Mutex
	running map[string]int
	all     sync.WaitGroup
}

func newRooms(each int) *rooms { return &rooms{each: each, running: map[string]int{}} }

// free tells how much more may begin in each of these buckets; full ones are left
// out.
func (r *rooms) free(buckets []string) map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	free := make(map[string]int, len(buckets))
	for _, b := range buckets {
		if n := r.each - r.running[b]; n > 0 {
			free[b] = n
		}
	}
	return free
}

// begin runs f on a goroutine of its own. The caller has seen that there is room.
func (r *rooms) begin(bucket string, f func()) {
	r.mu.Lock()
	r.running[bucket]++
	r.mu.Unlock()
	r.all.Go(func() {
		defer func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.running[bucket]--
		}()
		f()
	})
}

// wait returns when all that began has ended, or ctx has.
func (r *rooms) wait(ctx context.Context) {
	done := make(chan struct{})
	go func() { r.all.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
