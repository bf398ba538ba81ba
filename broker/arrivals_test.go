package broker_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

func (w *world) arrivals() *broker.Arrivals {
	return &broker.Arrivals{Store: w.store, Places: w.images.Places, Now: w.time}
}

// TestEventSecrets: a bucket's secret is made once, for all processes, and is no
// other bucket's.
func TestEventSecrets(t *testing.T) {
	w := newWorld(t)
	secrets := make([]string, 8)
	var wg sync.WaitGroup
	for i := range secrets {
		wg.Go(func() {
			secret, err := w.arrivals().Secret(t.Context(), "Near")
			if err != nil {
				t.Error(err)
			}
			secrets[i] = secret
		})
	}
	wg.Wait()
	near := secrets[0]
	if len(near) < broker.MinSecretLen || len(slices.Compact(secrets)) != 1 {
		t.Fatalf("the secrets are %q", secrets)
	}
	a := w.arrivals()
	far, err := a.Secret(t.Context(), "Far")
	if err != nil || far == near {
		t.Fatalf("%q and %q, %v", near, far, err)
	}
	_, err = a.Secret(t.Context(), "Nowhere")
	wantCode(t, err, broker.CodeUnknownBucket)

	for _, c := range []struct {
		bucket, shown string
		good          bool
	}{
		{"Near", near, true}, {"Far", far, true},
		{"Near", far, false}, {"Far", near, false}, {"Nowhere", near, false}, {"", near, false}, {"near", near, false},
		{"Near", "", false}, {"Near", near[:len(near)-1], false}, {"Near", near + "x", false}, {"Near", " " + near, false},
		{"Near\x00", near, false}, {strings.Repeat("N", 65), near, false}, {"Near", "\xff" + near, false},
	} {
		err := a.Authorize(t.Context(), c.bucket, c.shown)
		if c.good != (err == nil) {
			t.Errorf("%q with %q: %v", c.bucket, c.shown, err)
		}
		if !c.good {
			wantCode(t, err, broker.CodeUnauthenticated)
			// Nobody learns which bucket there is.
			if nowhere := a.Authorize(t.Context(), "Nowhere", "a-secret-long-enough"); err != nil && err.Error() != nowhere.Error() {
				t.Errorf("%q with %q tells more: %v", c.bucket, c.shown, err)
			}
		}
	}
}

// awayStore is a stand-in for a database that does not answer.
type awayStore struct{}

var errAway = &broker.Error{Code: broker.CodeUnavailable, RetryAfter: time.Second, Err: errors.New("connection refused")}

func (awayStore) EventSecret(context.Context, string, time.Time) (string, error) { return "", errAway }

func (awayStore) Hint(context.Context, string, []broker.Arrived) (int, error) { return 0, errAway }

// TestConfiguredEvents: what the operator configured counts, with the buckets of
// this moment, and is not asked of the database.
func TestConfiguredEvents(t *testing.T) {
	const secret = "configured-secret"
	bucket := func(rules broker.EventRules) broker.Bucket { return broker.Bucket{Symbol: "Near", Events: rules} }
	places := broker.NewPlaces(broker.ConfiguredOrder{}, bucket(broker.EventRules{Secret: secret, Topic: "arn:1"}), broker.Bucket{Symbol: "Made"})
	a := &broker.Arrivals{Store: awayStore{}, Places: places, Now: time.Now}
	if err := a.Authorize(t.Context(), "Near", secret); err != nil {
		t.Error(err)
	}
	wantCode(t, a.Authorize(t.Context(), "Near", "another-secret-12"), broker.CodeUnauthenticated)
	// Not knowing is no refusal: the sender tries again.
	wantCode(t, a.Authorize(t.Context(), "Made", secret), broker.CodeUnavailable)
	wantCode(t, a.Authorize(t.Context(), "Made", "short"), broker.CodeUnauthenticated)
	if near, made, nowhere := a.Topic("Near"), a.Topic("Made"), a.Topic("Nowhere"); near != "arn:1" || made != "" || nowhere != "" {
		t.Errorf("the topics are %q, %q and %q", near, made, nowhere)
	}
	places.Replace(broker.ConfiguredOrder{}, bucket(broker.EventRules{Secret: "replaced-secret-1"}))
	wantCode(t, a.Authorize(t.Context(), "Near", secret), broker.CodeUnauthenticated)
	wantCode(t, a.Authorize(t.Context(), "Made", secret), broker.CodeUnauthenticated)
	if a.Topic("Near") != "" {
		t.Error("a topic is left")
	}
}

// notedStore is a stand-in that notes what reaches the database.
type notedStore struct {
	awayStore
	arrived []broker.Arrived
	calls   int
}

func (s *notedStore) Hint(_ context.Context, _ string, arrived []broker.Arrived) (int, error) {
	s.arrived, s.calls = arrived, s.calls+1
	return len(arrived), nil
}

// TestHintsThatCostNothing: only keys that an image could have reach the database.
func TestHintsThatCostNothing(t *testing.T) {
	const pid = "01JDB4V8YQ0G7T3M6N5R2K9XWZ"
	s := &notedStore{}
	a := &broker.Arrivals{Store: s, Now: time.Now, Places: broker.NewPlaces(broker.ConfiguredOrder{})}
	var bad []broker.Arrived
	for _, key := range []string{
		"", "/", pid, pid + "/", "/" + pid, "/" + pid + "/a.jpg", "other/a.jpg", "a.jpg", pid + "/a/b.jpg", pid + "//a.jpg",
		pid + "x/a.jpg", pid[1:] + "/a.jpg", strings.ToLower(pid) + "/a.jpg", strings.Replace(pid, "J", "I", 1) + "/a.jpg",
		pid + "/a b.jpg", pid + "/ä.jpg", pid + "/a\x00.jpg", pid + "/%2e", pid + "/\xff", pid + "/" + strings.Repeat("a", 101),
	} {
		bad = append(bad, broker.Arrived{Key: key})
	}
	if n, err := a.Hint(t.Context(), "Near", bad); n != 0 || err != nil || s.calls != 0 {
		t.Errorf("%d, %v, %d calls with %q", n, err, s.calls, s.arrived)
	}
	good := []broker.Arrived{{Key: pid + "/" + hexOf("a") + ".jpg", ETag: "e"}, {Key: pid + "/" + hexOf("a") + "-2"}, {Key: pid + "/aB0-._"}}
	if n, err := a.Hint(t.Context(), "Near", slices.Concat(bad, good, bad)); n != 3 || err != nil || !slices.Equal(s.arrived, good) {
		t.Errorf("%d, %v: %q", n, err, s.arrived)
	}
	_, err := (&broker.Arrivals{Store: awayStore{}}).Hint(t.Context(), "Near", good)
	wantCode(t, err, broker.CodeUnavailable)
}

// TestHintsWakeTheLook: a hint about an image makes its place due at once, from its
// sleep too; what the broker knows already does not, nor what is no image's.
func TestHintsWakeTheLook(t *testing.T) {
	w := newWorld(t)
	a := w.arrivals()
	p, other := w.project(t), w.project(t)
	var imgs []broker.Image
	for _, r := range w.register(t, p, "Near", entry("open.jpg", "open"), entry("ready.jpg", "ready"), entry("gone.jpg", "gone")) {
		imgs = append(imgs, r.Image)
	}
	open, ready, gone := imgs[0], imgs[1], imgs[2]
	w.register(t, other, "Near", entry("a.jpg", "a"))
	w.arrive(t, ready, "Near") // with the ETag e
	if _, err := w.images.Remove(t.Context(), w.by, p.ID, gone.ID); err != nil {
		t.Fatal(err)
	}
	key := func(img broker.Image) string { return img.ProjectID + "/" + img.Filename }
	for name, c := range map[string]struct {
		bucket  string
		arrived []broker.Arrived
		images  int
	}{
		"an open one":         {"Near", []broker.Arrived{{Key: key(open), ETag: "x"}}, 1},
		"without an ETag":     {"Near", []broker.Arrived{{Key: key(open)}}, 1},
		"twice":               {"Near", []broker.Arrived{{Key: key(open)}, {Key: key(open), ETag: "x"}}, 1},
		"written over":        {"Near", []broker.Arrived{{Key: key(ready), ETag: "other"}}, 1},
		"Ready, perhaps new":  {"Near", []broker.Arrived{{Key: key(ready)}}, 1},
		"both, and more":      {"Near", []broker.Arrived{{Key: "x/y"}, {Key: key(open)}, {Key: p.ID + "/z.jpg"}, {Key: key(ready), ETag: "x"}}, 2},
		"known already":       {"Near", []broker.Arrived{{Key: key(ready), ETag: "e"}}, 0},
		"removed":             {"Near", []broker.Arrived{{Key: key(gone), ETag: "x"}}, 0},
		"nobody's":            {"Near", []broker.Arrived{{Key: p.ID + "/" + hexOf("nobody") + ".jpg"}}, 0},
		"in another's folder": {"Near", []broker.Arrived{{Key: other.ID + "/" + open.Filename}}, 0},
		"not granted there":   {"Far", []broker.Arrived{{Key: key(open)}}, 0},
		"no such bucket":      {"Nowhere", []broker.Arrived{{Key: key(open)}}, 0},
		"nothing":             {"Near", nil, 0},
	} {
		if _, err := w.store.Pool().Exec(t.Context(), `UPDATE watches SET next_look_at = NULL, looked_at = now() - interval '1 hour'`); err != nil {
			t.Fatal(err)
		}
		n, err := a.Hint(t.Context(), c.bucket, c.arrived)
		if err != nil || n != c.images {
			t.Errorf("%s: %d images, want %d: %v", name, n, c.images, err)
		}
		var due []string
		if err := w.store.Pool().QueryRow(t.Context(),
			`SELECT coalesce(array_agg(project_id || ' ' || bucket), '{}') FROM watches WHERE next_look_at <= now()`).Scan(&due); err != nil {
			t.Fatal(err)
		}
		var want []string
		if c.images > 0 {
			want = []string{p.ID + " Near"}
		}
		if !slices.Equal(due, want) {
			t.Errorf("%s: due are %q, want %q", name, due, want)
		}
	}
	// Once a second at most, and no hint moves an image by itself.
	if _, err := w.store.Pool().Exec(t.Context(), `UPDATE watches SET next_look_at = NULL, looked_at = now() + interval '1 minute'`); err != nil {
		t.Fatal(err)
	}
	if n, err := a.Hint(t.Context(), "Near", []broker.Arrived{{Key: key(open)}}); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	var due, waits bool
	if err := w.store.Pool().QueryRow(t.Context(), `SELECT next_look_at <= now(), next_look_at = looked_at + interval '1 s' FROM watches WHERE project_id = $1`, p.ID).
		Scan(&due, &waits); err != nil || due || !waits {
		t.Errorf("due: %t, waits for its second: %t, %v", due, waits, err)
	}
	for _, want := range []broker.Image{open, ready} {
		got, _, err := w.images.Get(t.Context(), w.by, p.ID, want.ID)
		if err != nil {
			t.Fatal(err)
		}
		if wantState := map[string]broker.State{open.ID: broker.StatePending, ready.ID: broker.StateReady}[want.ID]; got.State != wantState {
			t.Errorf("%s is %s, want %s", got.Name, got.State, wantState)
		}
	}
}
