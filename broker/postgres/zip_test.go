package postgres_test

import (
	"slices"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
)

// TestReadyEntries: what is Ready and nothing else, by ids, with the true type and
// the time when the picture was taken.
func TestReadyEntries(t *testing.T) {
	f := open(t)
	p, other := f.newProject(t), f.newProject(t)
	taken := time.Date(2019, 8, 7, 6, 5, 4, 0, time.UTC)
	ready := func(projectID string, number int, reasons ...broker.Reason) broker.Image {
		t.Helper()
		img := f.registerOne(t, projectID, "HongKong", number)
		f.seeOne(t, img, "HongKong", "e1")
		at := &taken
		if number == 1 {
			at = nil
		}
		if moved, err := f.Judge(t.Context(), postgres.Judging{
			ValidateArgs: broker.ValidateArgs{ImageID: img.ID, Attempt: img.Attempt, ETag: "e1"}, Holder: "test",
		}, broker.Verdict{
			Reasons: reasons, SHA1: img.SHA1, CRC32: 0xfffffff0, Size: 77, Facts: broker.Facts{Type: "image/tiff", Proof: broker.ProofFull, Taken: at},
		}, time.Now()); err != nil || !moved {
			t.Fatalf("judged: %t, %v", moved, err)
		}
		return f.image(t, img.ID)
	}
	first, second := ready(p.ID, 1), ready(p.ID, 2)
	accepted := ready(p.ID, 3, broker.Reasonf(broker.ReasonTruncated, "so it is"))
	if _, err := f.Accept(t.Context(), accepted, time.Now(), f.by); err != nil {
		t.Fatal(err)
	}
	ready(p.ID, 4, broker.Reasonf(broker.ReasonCorrupt, "so it is"))
	removed := ready(p.ID, 5)
	if err := f.RemoveImage(t.Context(), p.ID, removed.ID, time.Now(), time.Now().Add(time.Minute), f.by); err != nil {
		t.Fatal(err)
	}
	f.registerOne(t, p.ID, "HongKong", 6)
	ready(other.ID, 7)

	var got []broker.ZipEntry
	for e, err := range f.ReadyEntries(t.Context(), p.ID) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	want := []broker.Image{first, second, accepted}
	slices.SortFunc(want, func(a, b broker.Image) int { return slices.Compare([]byte(a.ID), []byte(b.ID)) })
	if len(got) != len(want) {
		t.Fatalf("%d entries: %+v", len(got), got)
	}
	for i, img := range want {
		at := taken
		if img.ID == first.ID {
			at = img.CreatedAt
		}
		if e := got[i]; e.Name != img.Name || e.Type != "image/tiff" || !e.At.Equal(at) || e.SizeBytes != 77 || e.CRC32 != 0xfffffff0 ||
			e.Bucket != "HongKong" || e.Key != img.Key() || e.ETag != "e1" {
			t.Errorf("%+v of %+v", e, img)
		}
	}
	// Leaving early leaves no connection behind.
	for range 20 {
		for range f.ReadyEntries(t.Context(), p.ID) {
			break
		}
	}
	for _, err := range f.ReadyEntries(t.Context(), "nonsense") {
		t.Errorf("of no project: %v", err)
	}
}

func TestLinks(t *testing.T) {
	f := open(t)
	p := f.newProject(t)
	now := time.Now().Truncate(time.Microsecond)
	hash := [32]byte{1}
	l := broker.ZipLink{ProjectID: p.ID, KeyID: f.by.Key.ID, CreatedAt: now, ExpiresAt: now.Add(time.Minute)}
	if err := f.CreateLink(t.Context(), l, hash, f.by); err != nil {
		t.Fatal(err)
	}
	got, by, err := f.LinkByHash(t.Context(), hash, now.Add(59*time.Second))
	if err != nil || got.ProjectID != p.ID || !got.ExpiresAt.Equal(l.ExpiresAt) || by.Owner.ID != f.owner.ID || by.Key.ID != f.by.Key.ID {
		t.Errorf("%+v of %+v: %v", got, by, err)
	}
	_, _, err = f.LinkByHash(t.Context(), hash, l.ExpiresAt)
	wantCode(t, err, broker.CodeNotFound)
	_, _, err = f.LinkByHash(t.Context(), [32]byte{2}, now)
	wantCode(t, err, broker.CodeNotFound)
	if n := scan[int](t, f, `SELECT count(*) FROM audit WHERE action = 'project.link' AND project_id = $1`, p.ID); n != 1 {
		t.Errorf("%d lines of audit", n)
	}
	// What is over goes with the next one.
	l.CreatedAt, l.ExpiresAt = now.Add(time.Hour), now.Add(2*time.Hour)
	if err := f.CreateLink(t.Context(), l, [32]byte{3}, f.by); err != nil {
		t.Fatal(err)
	}
	if n := scan[int](t, f, `SELECT count(*) FROM links`); n != 1 {
		t.Errorf("%d links are kept", n)
	}
}
