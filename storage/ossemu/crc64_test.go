package ossemu

import (
	"hash/crc64"
	"testing"

	"github.com/aliyun/aliyun-oss-go-sdk/oss"
	"pgregory.net/rapid"
)

func TestCombineCRC(t *testing.T) {
	if got := crc64.Checksum([]byte("hello"), crcTable()); got != 11177612005948864433 {
		t.Errorf("hello: %d", got)
	}
	rapid.Check(t, func(rt *rapid.T) {
		a, b := rapid.SliceOf(rapid.Byte()).Draw(rt, "a"), rapid.SliceOf(rapid.Byte()).Draw(rt, "b")
		first, second := crc64.Checksum(a, crcTable()), crc64.Checksum(b, crcTable())
		if got, want := combineCRC(first, second, int64(len(b))), crc64.Checksum(append(a, b...), crcTable()); got != want {
			rt.Fatalf("%d, want %d", got, want)
		}
		// Lengths beyond memory: as the SDK has it, which knows no length of 0.
		n := rapid.Int64Range(1, 1<<47).Draw(rt, "length")
		if got, want := combineCRC(first, second, n), oss.CRC64Combine(first, second, uint64(n)); got != want {
			rt.Fatalf("%d bytes: %d, want %d", n, got, want)
		}
	})
}
