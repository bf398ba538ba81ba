package postgres_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
)

// TestManyRegisterTheSameFolders: 20 clients register overlapping batches of 500
// in orders of their own, in two buckets.
func TestManyRegisterTheSameFolders(t *testing.T) {
	f := open(t)
	p := f.newProject(t)
	const clients, size, step = 20, 500, 50
	deadlocks := scan[int64](t, f, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`)
	var wg sync.WaitGroup
	var mu sync.Mutex
	byDigest := map[broker.SHA1]map[string]bool{}
	for c := range clients {
		wg.Go(func() {
			numbers := make([]int, size)
			for i := range numbers {
				numbers[i] = c*step + i
			}
			rand.Shuffle(size, func(i, j int) { numbers[i], numbers[j] = numbers[j], numbers[i] })
			images, err := f.Register(t.Context(), f.batchOf(p.ID, []string{"A", "B"}[c%2], numbers...))
			if err != nil {
				t.Errorf("client %d: %v", c, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for i, img := range images {
				if img.SHA1 != digest(numbers[i]) || img.State != broker.StatePending || img.Attempt != 1 {
					t.Errorf("client %d, entry %d: %+v", c, i, img)
				}
				if byDigest[img.SHA1] == nil {
					byDigest[img.SHA1] = map[string]bool{}
				}
				byDigest[img.SHA1][img.ID] = true
			}
		})
	}
	wg.Wait()
	const distinct = (clients-1)*step + size
	if n := scan[int](t, f, `SELECT count(*) FROM images WHERE project_id = $1`, p.ID); n != distinct || len(byDigest) != distinct {
		t.Errorf("%d rows and %d digests, want %d", n, len(byDigest), distinct)
	}
	for d, ids := range byDigest {
		if len(ids) != 1 {
			t.Errorf("%s was answered with %d images", d, len(ids))
		}
	}
	if n := scan[int](t, f, `SELECT count(*) FROM grants WHERE project_id = $1`, p.ID); n != clients*size {
		t.Errorf("%d grants, want %d", n, clients*size)
	}
	if n := scan[int](t, f, `SELECT count(*) FROM audit WHERE action = 'image.register'`); n != clients*size {
		t.Errorf("%d lines of audit, want %d", n, clients*size)
	}
	if n := scan[int](t, f, `SELECT count(*) FROM watches WHERE project_id = $1 AND next_look_at <= now()`, p.ID); n != 2 {
		t.Errorf("%d watches are due, want 2", n)
	}
	// Other tests share the server, so this only tells of a change for the worse
	// when they make none either; they do not.
	if n := scan[int64](t, f, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`); n != deadlocks {
		t.Logf("%d deadlocks were broken and tried again", n-deadlocks)
	}
}

// TestRegisterAnswersInOrder mixes what is there, what is open and what is new.
func TestRegisterAnswersInOrder(t *testing.T) {
	f := open(t)
	p := f.newProject(t)
	f.oneOfEach(t, p.ID) // 1 Pending, 2 Uploading, 3 Uploaded, 4 Ready, 5 Invalid, 6 Removed
	numbers := []int{6, 4, 9, 5, 2, 3, 8, 1}
	before := scan[int](t, f, `SELECT count(*) FROM grants`)
	images, err := f.Register(t.Context(), f.batchOf(p.ID, "A", numbers...))
	if err != nil {
		t.Fatal(err)
	}
	want := []broker.State{
		broker.StatePending, broker.StateReady, broker.StatePending, broker.StatePending, broker.StateUploading, broker.StateUploaded,
		broker.StatePending, broker.StatePending,
	}
	attempts := []int{2, 1, 1, 2, 1, 1, 1, 1}
	for i, img := range images {
		if img.SHA1 != digest(numbers[i]) || img.State != want[i] || img.Attempt != attempts[i] || img.Filename != filename(numbers[i], attempts[i]) {
			t.Errorf("entry %d: %+v", i, img)
		}
	}
	if n := scan[int](t, f, `SELECT count(*) FROM grants`); n != before+6 {
		t.Errorf("%d further grants, want 6", n-before)
	}
}

// TestRegisterRacesWithRemoval: whoever removes a project knows of every grant
// that was ever given there, and none is given after.
func TestRegisterRacesWithRemoval(t *testing.T) {
	f := open(t)
	for round := range 40 {
		p := f.newProject(t)
		if round%2 == 0 { // with and without a watch that exists already
			f.registerOne(t, p.ID, "A", 1000)
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		var last time.Time
		granted := 0
		start := make(chan struct{})
		for c := range 4 {
			wg.Go(func() {
				<-start
				for i := range 5 {
					b := f.batchOf(p.ID, "A", c*5+i)
					b.ExpiresAt = b.ExpiresAt.Add(time.Duration(c*5+i) * time.Minute)
					_, err := f.Register(context.Background(), b)
					switch broker.CodeOf(err) {
					case "":
						mu.Lock()
						granted++
						if b.ExpiresAt.After(last) {
							last = b.ExpiresAt
						}
						mu.Unlock()
					case broker.CodeNotFound:
					default:
						t.Errorf("round %d: %v", round, err)
					}
				}
			})
		}
		var removedAt time.Time
		wg.Go(func() {
			<-start
			time.Sleep(time.Duration(rand.IntN(4000)) * time.Microsecond)
			now := time.Now()
			if _, err := f.RemoveProject(context.Background(), p.ID, now, now, f.by); err != nil {
				t.Error(err)
			}
			removedAt = now
		})
		close(start)
		wg.Wait()

		removed, err := f.ClaimRemovedProjects(t.Context(), removedAt.Add(time.Hour), 100)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(removed, func(r postgres.RemovedProject) bool { return r.ID == p.ID })
		if i < 0 {
			t.Fatalf("round %d: the removed project was not claimed", round)
		}
		if granted > 0 && removed[i].GrantsEnd.Before(last.Truncate(time.Microsecond)) {
			t.Errorf("round %d: removal believes in %v, a grant ends at %v", round, removed[i].GrantsEnd, last)
		}
		if _, err := f.Register(t.Context(), f.batchOf(p.ID, "A", 99)); broker.CodeOf(err) != broker.CodeNotFound {
			t.Errorf("round %d: a grant after the removal: %v", round, err)
		}
		if _, err := f.Regrant(t.Context(), f.batchOf(p.ID, "A", 99)); broker.CodeOf(err) != broker.CodeNotFound {
			t.Errorf("round %d: a further grant after the removal: %v", round, err)
		}
	}
}

// TestRemovalWaitsForAGrant is the same race taken apart: the removal comes while
// a registration stands at its commit.
func TestRemovalWaitsForAGrant(t *testing.T) {
	f := open(t)
	p := f.newProject(t)
	f.registerOne(t, p.ID, "A", 1)
	b := f.batchOf(p.ID, "A", 2)
	b.ExpiresAt = b.ExpiresAt.Add(time.Hour) // the last of all
	g := f.newGate(t, "grants")
	registered := g.hold(t, func() error {
		_, err := f.Register(t.Context(), b)
		return err
	})
	type answer struct {
		removed []postgres.RemovedProject
		err     error
	}
	removal := make(chan answer, 1)
	go func() {
		now := time.Now()
		_, err := f.RemoveProject(t.Context(), p.ID, now, now, f.by)
		if err != nil {
			removal <- answer{nil, err}
			return
		}
		removed, err := f.ClaimRemovedProjects(t.Context(), now.Add(time.Hour), 1)
		removal <- answer{removed, err}
	}()
	var got answer
	select {
	case got = <-removal:
		g.open(t)
	case <-f.blocked("UPDATE projects SET removed_at"):
		g.open(t)
		got = <-removal
	}
	if err := <-registered; err != nil {
		t.Fatal(err)
	}
	if got.err != nil || len(got.removed) != 1 || got.removed[0].GrantsEnd.Before(b.ExpiresAt.Truncate(time.Microsecond)) {
		t.Errorf("removal knows %+v, %v; a grant ends at %v", got.removed, got.err, b.ExpiresAt)
	}
}

func TestRegrantOnlyOpenOnes(t *testing.T) {
	f := open(t)
	p, other := f.newProject(t), f.newProject(t)
	ids := f.oneOfEach(t, p.ID)
	theirs := f.registerOne(t, other.ID, "A", 1)
	b := f.batchOf(p.ID, "B")
	b.ExpiresAt = b.ExpiresAt.Add(time.Hour)
	for _, id := range ids {
		b.Images = append(b.Images, broker.NewImage{ID: id})
	}
	b.Images = append(b.Images, broker.NewImage{ID: theirs.ID})
	open, err := f.Regrant(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{ids[broker.StatePending], ids[broker.StateUploading]}
	slices.Sort(want)
	slices.Sort(open)
	if !slices.Equal(open, want) {
		t.Errorf("regranted %q, want %q", open, want)
	}
	if n := scan[int](t, f, `SELECT count(*) FROM grants WHERE bucket = 'B'`); n != 2 {
		t.Errorf("%d grants in B", n)
	}
	for _, id := range want {
		if end := scan[time.Time](t, f, `SELECT grants_end FROM images WHERE id = $1`, id); !end.Equal(b.ExpiresAt.Truncate(time.Microsecond)) {
			t.Errorf("its grants end at %v, want %v", end, b.ExpiresAt)
		}
	}
	// A shorter grant takes nothing back from a longer one.
	b.ExpiresAt = b.Now.Add(time.Minute)
	if _, err := f.Regrant(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if end := scan[time.Time](t, f, `SELECT min(grants_end) FROM images WHERE id = any($1)`, want); end.Before(b.Now.Add(grantFor)) {
		t.Errorf("its grants end at %v", end)
	}
}
