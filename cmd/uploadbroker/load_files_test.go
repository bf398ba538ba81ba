package main

import (
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/validate"
)

// loadKind is a sort of file with the verdict that it deserves.
type loadKind struct {
	name   string
	make   func(mark []byte) []byte // different bytes for each mark
	lies   bool                     // another sha1 is declared than the bytes have
	state  broker.State
	reason broker.ReasonCode // "" when Ready
	share  int               // of 100 files
}

// loadFile is one file on its way.
type loadFile struct {
	kind     *loadKind
	name     string
	text     []byte
	declared string // sha1 in hex, as the client says
	proven   string // sha1 in hex, of the bytes
	id       string
	put      time.Time // when the PUT was answered; zero before
	judged   bool      // the client read its verdict
}

// loadKinds are all sorts, each proven by the worker's own check to be what it
// is taken for.
func loadKinds(t testing.TB) []*loadKind {
	t.Helper()
	sound := photo(1, 64, 48)
	other := photo(2, 120, 80)
	marked := func(picture []byte, cut int) func([]byte) []byte {
		return func(mark []byte) []byte { return comment(picture[:len(picture)-cut], mark) }
	}
	kinds := []*loadKind{
		{name: "small", make: marked(sound, 0), state: broker.StateReady, share: 60},
		{name: "larger", make: marked(other, 0), state: broker.StateReady, share: 30},
		{name: "half", make: marked(other, len(other)/3), state: broker.StateInvalid, reason: broker.ReasonTruncated, share: 4},
		{name: "text", make: func(mark []byte) []byte { return fmt.Appendf(nil, "not an image at all, %x", mark) },
			state: broker.StateInvalid, reason: broker.ReasonUnsupportedFormat, share: 3},
		{name: "lie", make: marked(sound, 0), lies: true, state: broker.StateInvalid, reason: broker.ReasonChecksumMismatch, share: 3},
	}
	for _, k := range kinds {
		f := newLoadFile(k, rand.New(rand.NewPCG(1, 2)))
		path := filepath.Join(t.TempDir(), f.name)
		write(t, path, f.text)
		src, err := validate.FromFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := validate.Want{Kind: broker.KindRecon, Name: f.name, Size: -1, MaxObject: 1 << 30, MaxPixels: 1 << 30}
		digest, err := hex.DecodeString(f.declared)
		if err != nil {
			t.Fatal(err)
		}
		copy(want.SHA1[:], digest)
		v, err := validate.Image(t.Context(), src, want)
		if err != nil {
			t.Fatal(err)
		}
		if v.Sound() != (k.reason == "") || !v.Sound() && (len(v.Reasons) != 1 || v.Reasons[0].Code != k.reason) {
			t.Fatalf("the kind %q is to be %q; the check says %v", k.name, k.reason, v.Reasons)
		}
	}
	return kinds
}

// comment puts a JPEG's comment segment behind its first marker, which makes the
// file another one and the picture none.
func comment(picture, mark []byte) []byte {
	out := make([]byte, 0, len(picture)+4+len(mark))
	out = append(out, picture[:2]...)
	out = append(out, 0xff, 0xfe)
	out = binary.BigEndian.AppendUint16(out, uint16(2+len(mark)))
	out = append(out, mark...)
	return append(out, picture[2:]...)
}

// newLoadFile makes bytes that nobody had before.
func newLoadFile(k *loadKind, r *rand.Rand) *loadFile {
	mark := make([]byte, 24)
	for i := range mark {
		mark[i] = byte(r.Uint32())
	}
	f := &loadFile{kind: k, name: fmt.Sprintf("100MEDIA/DJI_%06d.JPG", r.IntN(1e6)), text: k.make(mark)}
	sum := sha1.Sum(f.text)
	f.proven = hex.EncodeToString(sum[:])
	f.declared = f.proven
	if k.lies {
		sum = sha1.Sum(mark)
		f.declared = hex.EncodeToString(sum[:])
	}
	return f
}
