package postgres_test

import (
	"context"
	"crypto/sha1"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// TestSmallRegistrationsShareTransactions sends many callers' single images at
// once: each gets his own image, a fault of one is not the others', and a caller
// who goes away takes nobody with him.
func TestSmallRegistrationsShareTransactions(t *testing.T) {
	f := open(t)
	p := f.newProject(t)
	now := time.Now()
	batch := func(name string, seed string) broker.RegisterBatch {
		return broker.RegisterBatch{
			ProjectID: p.ID, Bucket: "A", Kind: broker.GrantRequest, Now: now, ExpiresAt: now.Add(time.Hour), By: f.by,
			Images: []broker.NewImage{{ID: broker.NewID(now), Name: name, SHA1: sha1.Sum([]byte(seed)), SizeBytes: 1, Type: "image/jpeg", Ext: "jpg", Start: true}},
		}
	}
	const callers = 400
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			name, seed, ctx := fmt.Sprintf("%d.jpg", i), fmt.Sprint(i%(callers/2)), context.Background()
			switch {
			case i%50 == 7: // SQL refuses this name; package broker never lets it get here
				name = "a\\b"
				seed = fmt.Sprint("bad", i)
			case i%50 == 9:
				gone, cancel := context.WithCancel(ctx)
				cancel()
				_, _ = f.Register(gone, batch(name, seed))
				return
			}
			images, err := f.Register(ctx, batch(name, seed))
			switch {
			case strings.Contains(name, "\\"):
				if err == nil {
					t.Errorf("%q was registered", name)
				}
			case err != nil:
				t.Errorf("%d: %v", i, err)
			case len(images) != 1 || images[0].SHA1 != sha1.Sum([]byte(seed)) || images[0].State != broker.StateUploading:
				t.Errorf("%d got %+v", i, images)
			}
		})
	}
	wg.Wait()
	all, err := f.ListImages(t.Context(), p.ID, broker.StateNone, broker.Page{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[broker.SHA1]bool{}
	for _, img := range all {
		if seen[img.SHA1] {
			t.Errorf("%s has two rows", img.SHA1)
		}
		seen[img.SHA1] = true
	}
	for i := range callers / 2 {
		if bad := i%50 == 7; !bad && !seen[sha1.Sum([]byte(fmt.Sprint(i)))] && i%50 != 9 {
			t.Errorf("%d is missing", i)
		}
	}
}
