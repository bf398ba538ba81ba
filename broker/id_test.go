package broker

import (
	"encoding/hex"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestEncodeID compares with ULIDs that others published: github.com/ulid/spec
// (its greatest ULID, and its greatest time 281474976710655) and the README of
// github.com/ulid/javascript (1469918176385 is 01ARYZ6S41).
func TestEncodeID(t *testing.T) {
	for in, want := range map[string]string{
		"00000000000000000000000000000000": "00000000000000000000000000",
		"00000000000000000000000000000001": "00000000000000000000000001",
		"0000000000000000000000000000001f": "0000000000000000000000000Z",
		"00000000000000000000000000000020": "00000000000000000000000010",
		"ffffffffffffffffffffffffffffffff": "7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
		"ffffffffffff00000000000000000000": "7ZZZZZZZZZ0000000000000000",
		"01563df3648100000000000000000000": "01ARYZ6S410000000000000000", // 1469918176385 ms
		"01563e3ab5d3d6764c61efb99302bd5b": "01ARZ3NDEKTSV4RRFFQ69G5FAV", // the spec's example
	} {
		var b [16]byte
		if n, err := hex.Decode(b[:], []byte(in)); n != 16 || err != nil {
			t.Fatal(in, err)
		}
		if got := encodeID(b); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
}

func TestEncodeIDIsBase32(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes"))
		n := new(big.Int).SetBytes(b[:])
		var want []byte
		for range 26 {
			var digit big.Int
			n.DivMod(n, big.NewInt(32), &digit)
			want = append(want, "0123456789ABCDEFGHJKMNPQRSTVWXYZ"[digit.Int64()])
		}
		slices.Reverse(want)
		if got := encodeID(b); got != string(want) || !IsID(got) {
			t.Fatalf("%x is %s, want %s", b, got, want)
		}
	})
}

func TestNewID(t *testing.T) {
	at := time.UnixMilli(1469918176385)
	seen := map[string]bool{}
	for range 1000 {
		id := NewID(at)
		if !strings.HasPrefix(id, "01ARYZ6S41") || !IsID(id) {
			t.Fatalf("NewID gave %q", id)
		}
		if seen[id] {
			t.Fatalf("%s came twice", id)
		}
		seen[id] = true
	}
	// Every character that can vary does: 80 random bits fill 16 of them.
	for i := 10; i < idLen; i++ {
		some := map[byte]bool{}
		for id := range seen {
			some[id[i]] = true
		}
		if len(some) < 25 {
			t.Errorf("character %d takes only %d values", i, len(some))
		}
	}
}

func TestIDsSortByTime(t *testing.T) {
	var ids []string
	for _, ms := range []int64{0, 1, 31, 32, 1023, 1 << 20, 1469918176385, 1469918176386, 1893456000000, 1<<48 - 1} {
		ids = append(ids, NewID(time.UnixMilli(ms)))
	}
	if !slices.IsSorted(ids) {
		t.Errorf("%q do not sort by time", ids)
	}
}

func TestIsID(t *testing.T) {
	const id = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
	for s, ok := range map[string]bool{
		id: true, "7ZZZZZZZZZZZZZZZZZZZZZZZZZ": true, "00000000000000000000000000": true,
		"": false, id[1:]: false, id + "0": false, strings.ToLower(id): false,
		"8" + id[1:]: false, // over 128 bits
		"I" + id[1:]: false, id[:25] + "L": false, id[:25] + "O": false, id[:25] + "U": false, id[:25] + "I": false,
		id[:25] + "/": false, id[:25] + " ": false, id[:25] + "\x00": false, id[:25] + ":": false, id[:25] + "@": false,
		id[:24] + "é": false,
	} {
		if IsID(s) != ok {
			t.Errorf("IsID(%q) = %t", s, !ok)
		}
	}
	for s, ok := range map[string]bool{id: true, id[:1]: true, id[:10]: true, "": false, "01arz": false, id + "0": false, "01%": false, "01_": false} {
		if IsIDPrefix(s) != ok {
			t.Errorf("IsIDPrefix(%q) = %t", s, !ok)
		}
	}
}
