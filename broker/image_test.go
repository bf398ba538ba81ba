package broker

import (
	"crypto/sha1"
	"testing"
	"time"
)

func TestStanding(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	proven := sha1.Sum([]byte("x"))
	reasons := func(codes ...ReasonCode) (list []Reason) {
		for _, c := range codes {
			list = append(list, Reason{Code: c})
		}
		return list
	}
	for _, c := range []struct {
		name    string
		img     Image
		damaged bool
	}{
		{"corrupt", Image{State: StateInvalid, ProvenSHA1: proven, Reasons: reasons(ReasonCorrupt)}, true},
		{"truncated and corrupt", Image{State: StateInvalid, ProvenSHA1: proven, Reasons: reasons(ReasonTruncated, ReasonCorrupt)}, true},
		{"other bytes than declared", Image{State: StateInvalid, ProvenSHA1: proven, Reasons: reasons(ReasonCorrupt, ReasonChecksumMismatch)}, false},
		{"a mismatch first", Image{State: StateInvalid, ProvenSHA1: proven, Reasons: reasons(ReasonSizeMismatch, ReasonTruncated)}, false},
		{"never read", Image{State: StateInvalid, Reasons: reasons(ReasonCorrupt)}, false},
		{"expired", Image{State: StateInvalid, Reasons: reasons(ReasonExpired)}, false},
		{"no reason", Image{State: StateInvalid, ProvenSHA1: proven}, false},
		{"accepted before", Image{State: StateReady, ProvenSHA1: proven, Reasons: reasons(ReasonCorrupt)}, false},
	} {
		if got := c.img.Standing(now).Damaged; got != c.damaged {
			t.Errorf("%s: damaged %t", c.name, got)
		}
	}

	until := now.Add(time.Second)
	img := Image{State: StateRemoved, RemovedFrom: StateReady, UndoUntil: &until}
	for at, open := range map[time.Time]bool{now: true, until.Add(-1): true, until: false, until.Add(1): false} {
		if got := img.Standing(at).UndoOpen; got != open {
			t.Errorf("undo is open at %v: %t", at, got)
		}
	}
	if (Image{State: StateReady}).Standing(now).UndoOpen {
		t.Error("undo is open on what was not removed")
	}
}

func TestKeyOfAnImage(t *testing.T) {
	img := Image{ProjectID: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Filename: "a9993e364706816aba3e25717850c26c9cd0d89d-2.jpg"}
	if got, want := img.Key(), "01ARZ3NDEKTSV4RRFFQ69G5FAV/a9993e364706816aba3e25717850c26c9cd0d89d-2.jpg"; got != want {
		t.Errorf("Key = %s, want %s", got, want)
	}
}
