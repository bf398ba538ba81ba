package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// TestEventSecret: one for each bucket, the same for all who ask at once.
func TestEventSecret(t *testing.T) {
	f := open(t)
	var mu sync.Mutex
	var all sync.WaitGroup
	made := map[string]map[string]bool{"A": {}, "B": {}}
	for i := range 20 {
		all.Go(func() {
			bucket := string(rune('A' + i%2))
			secret, err := f.EventSecret(t.Context(), bucket, time.Now())
			if err != nil || len(secret) < 32 {
				t.Errorf("%q, %v", secret, err)
			}
			mu.Lock()
			defer mu.Unlock()
			made[bucket][secret] = true
		})
	}
	all.Wait()
	if len(made["A"]) != 1 || len(made["B"]) != 1 || fmt.Sprint(made["A"]) == fmt.Sprint(made["B"]) {
		t.Errorf("the secrets are %v", made)
	}
}

// TestHintsOfManyCallers share transactions: each is answered, none is lost, and a
// caller who goes away takes nobody with him.
func TestHintsOfManyCallers(t *testing.T) {
	f := open(t)
	p := f.newProject(t)
	var keys []broker.Arrived
	for i := range 200 {
		images, err := f.Register(t.Context(), f.batchOf(p.ID, "A", i))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, broker.Arrived{Key: images[0].Key(), ETag: "new"})
	}
	f.exec(t, `UPDATE images SET state = 'Invalid', reasons = '{expired}', judged_at = now()`)
	f.exec(t, `UPDATE watches SET next_look_at = NULL`)
	var all sync.WaitGroup
	for i, o := range keys {
		all.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%50 == 0 {
				cancel()
			}
			n, err := f.Hint(ctx, "A", []broker.Arrived{o, o})
			if i%50 != 0 && (err != nil || n < 1) || err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("%d images, %v", n, err)
			}
		})
	}
	all.Wait()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) { // those who went away don't wait
		if n := scan[int](t, f, `SELECT count(*) FROM hints`); n == len(keys) {
			break
		} else if time.Since(began) > 10*time.Second {
			t.Fatalf("%d hints of %d are stored", n, len(keys))
		}
	}
	if n := scan[int](t, f, `SELECT count(*) FROM watches WHERE next_look_at <= now() + interval '1 s'`); n != 1 {
		t.Error("nobody will look")
	}
	// Postgres takes them again and again.
	if n, err := f.Hint(t.Context(), "A", keys); err != nil || n != len(keys) {
		t.Errorf("told again: %d, %v", n, err)
	}
	if n := scan[int](t, f, `SELECT count(*) FROM hints`); n != len(keys) {
		t.Errorf("%d hints for %d images", n, len(keys))
	}
}
