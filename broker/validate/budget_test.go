package validate

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// TestBudget: many checks share a budget that holds one of them; all come to an
// end, and everything is given back.
func TestBudget(t *testing.T) {
	files := [][]byte{testdata(t, "lossless.webp"), testdata(t, "alpha.webp"), testdata(t, "progressive.jpg")}
	b := NewBudget(30_000) // lossless.webp alone takes 26 KB
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			want := recon()
			want.Budget = b
			v, err := Image(context.Background(), FromBytes(files[i%len(files)]), want)
			if err != nil || !v.Sound() || v.Facts.Proof != broker.ProofFull {
				t.Errorf("%v %v %+v", err, v.Reasons, v.Facts)
			}
		})
	}
	wg.Wait()
	if !b.sem.TryAcquire(b.total) {
		t.Error("not all was given back")
	}
}

func TestBudgetWaits(t *testing.T) {
	b := NewBudget(30_000)
	if ok, err := b.take(context.Background(), 20_000); !ok || err != nil {
		t.Fatal(ok, err)
	}
	want := recon()
	want.Budget = b
	file := FromBytes(testdata(t, "lossless.webp"))
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if v, err := Image(ctx, file, want); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, %v", v.Reasons, err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := Image(context.Background(), file, want)
		done <- err
	}()
	select {
	case <-done:
		t.Error("it did not wait")
	case <-time.After(20 * time.Millisecond):
	}
	b.give(20_000)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestBudgetTooSmall: what never fits is proven by its structure.
func TestBudgetTooSmall(t *testing.T) {
	want := recon()
	want.Budget = NewBudget(100)
	for _, name := range []string{"lossless.webp", "alpha.webp", "progressive.jpg"} {
		b := testdata(t, name)
		v := judge(t, b, want)
		if !v.Sound() || v.Facts.Proof != broker.ProofStructure || len(v.Facts.Notes) != 1 ||
			!strings.Contains(v.Facts.Notes[0], "worker.memory") {
			t.Errorf("%s: %v %+v", name, v.Reasons, v.Facts)
		}
		if v := judge(t, b[:len(b)-20], want); len(v.Reasons) != 1 || v.Reasons[0].Code != broker.ReasonTruncated {
			t.Errorf("%s, cut: %v", name, v.Reasons)
		}
	}
	for _, name := range []string{"restart.jpg", "interlaced.png", "lzw.tif", "lossy.webp"} { // need none
		if v := judge(t, testdata(t, name), want); v.Facts.Proof != broker.ProofFull {
			t.Errorf("%s: %+v", name, v.Facts)
		}
	}
}
