package archive

import (
	"encoding/binary"
	"math"
	"time"
)

// Signatures (APPNOTE 4.3.7, 4.3.12, 4.3.14 to 4.3.16).
const (
	sigLocal     = 0x04034b50
	sigCentral   = 0x02014b50
	sigEnd       = 0x06054b50
	sigEnd64     = 0x06064b50
	sigLocator64 = 0x07064b50
)

// Lengths of the fixed parts.
const (
	localLen     = 30
	centralLen   = 46
	endLen       = 22
	end64Len     = 56
	locator64Len = 20
	extraHead    = 4 // of each extra field: its id and its length
	timeExtraLen = 5
)

const (
	version20   = 20             // a file in a folder (4.4.3.2)
	version45   = 45             // zip64
	madeBy      = 3<<8 | 45      // Unix, for the mode below (4.4.2)
	utf8Flag    = 1 << 11        // names are UTF-8 (4.4.4)
	fileMode    = 0o100644 << 16 // a plain file, readable to all
	idZip64     = 0x0001         // 4.5.3
	idTime      = 0x5455         // Info-ZIP's extended timestamp, 4.6
	timeChanged = 1              // of its flags: the time of the last change is there
)

// item is a file of the zip.
type item struct {
	name   string
	unix   int64 // seconds
	size   int64
	crc    uint32
	bucket string
	key    string
	etag   string
}

// big reports whether a number needs zip64: the largest of 32 bits means that it
// stands elsewhere.
func big(n int64) bool { return n >= math.MaxUint32 }

func clamp32(n int64) uint32 { return uint32(min(n, math.MaxUint32)) }

// timed reports whether the time fits the extended timestamp.
func (i *item) timed() bool { return i.unix >= math.MinInt32 && i.unix <= math.MaxInt32 }

// localBytes is the length of the local header.
func (i *item) localBytes() int64 {
	n := int64(localLen + len(i.name))
	if i.timed() {
		n += extraHead + timeExtraLen
	}
	if big(i.size) {
		n += extraHead + 16
	}
	return n
}

// centralBytes is the length of the record in the directory, of a file whose local
// header begins at an offset.
func (i *item) centralBytes(offset int64) int64 {
	n := int64(centralLen + len(i.name))
	if i.timed() {
		n += extraHead + timeExtraLen
	}
	if z := i.zip64Bytes(offset); z > 0 {
		n += extraHead + z
	}
	return n
}

// zip64Bytes is the length of what the directory's zip64 field holds: only what
// does not fit elsewhere.
func (i *item) zip64Bytes(offset int64) (n int64) {
	if big(i.size) {
		n += 16
	}
	if big(offset) {
		n += 8
	}
	return n
}

func (i *item) version(offset int64) uint16 {
	if big(i.size) || big(offset) {
		return version45
	}
	return version20
}

// appendLocal writes the local header (4.3.7).
func (i *item) appendLocal(b []byte, offset int64) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, sigLocal)
	b = i.appendCommon(b, i.version(offset))
	extra := 0
	if i.timed() {
		extra += extraHead + timeExtraLen
	}
	if big(i.size) {
		extra += extraHead + 16
	}
	b = le.AppendUint16(b, uint16(len(i.name)))
	b = le.AppendUint16(b, uint16(extra))
	b = append(b, i.name...)
	if big(i.size) { // both sizes, always (4.5.3)
		b = le.AppendUint16(b, idZip64)
		b = le.AppendUint16(b, 16)
		b = le.AppendUint64(b, uint64(i.size))
		b = le.AppendUint64(b, uint64(i.size))
	}
	return i.appendTime(b)
}

// appendCommon writes what both headers have, from the version needed to the sizes.
func (i *item) appendCommon(b []byte, version uint16) []byte {
	le := binary.LittleEndian
	date, clock := dosTime(i.unix)
	b = le.AppendUint16(b, version)
	b = le.AppendUint16(b, utf8Flag)
	b = le.AppendUint16(b, 0) // stored
	b = le.AppendUint16(b, clock)
	b = le.AppendUint16(b, date)
	b = le.AppendUint32(b, i.crc)
	b = le.AppendUint32(b, clamp32(i.size))
	return le.AppendUint32(b, clamp32(i.size))
}

// appendTime writes the extended timestamp, which is the same in both headers.
func (i *item) appendTime(b []byte) []byte {
	if !i.timed() {
		return b
	}
	le := binary.LittleEndian
	b = le.AppendUint16(b, idTime)
	b = le.AppendUint16(b, timeExtraLen)
	b = append(b, timeChanged)
	return le.AppendUint32(b, uint32(int32(i.unix)))
}

// appendCentral writes the record in the directory (4.3.12).
func (i *item) appendCentral(b []byte, offset int64) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, sigCentral)
	b = le.AppendUint16(b, madeBy)
	b = i.appendCommon(b, i.version(offset))
	zip64 := i.zip64Bytes(offset)
	extra := int64(0)
	if i.timed() {
		extra += extraHead + timeExtraLen
	}
	if zip64 > 0 {
		extra += extraHead + zip64
	}
	b = le.AppendUint16(b, uint16(len(i.name)))
	b = le.AppendUint16(b, uint16(extra))
	b = le.AppendUint16(b, 0) // no comment
	b = le.AppendUint16(b, 0) // the first disk
	b = le.AppendUint16(b, 0) // not known to be text
	b = le.AppendUint32(b, fileMode)
	b = le.AppendUint32(b, clamp32(offset))
	b = append(b, i.name...)
	if zip64 > 0 {
		b = le.AppendUint16(b, idZip64)
		b = le.AppendUint16(b, uint16(zip64))
		if big(i.size) {
			b = le.AppendUint64(b, uint64(i.size))
			b = le.AppendUint64(b, uint64(i.size))
		}
		if big(offset) {
			b = le.AppendUint64(b, uint64(offset))
		}
	}
	return i.appendTime(b)
}

// endBytes writes what follows the directory (4.3.14 to 4.3.16). A count of 65,535
// means that it stands elsewhere, so that one has to.
func endBytes(entries int, start, length int64) []byte {
	le := binary.LittleEndian
	var b []byte
	if entries >= math.MaxUint16 || big(start) || big(length) {
		b = le.AppendUint32(b, sigEnd64)
		b = le.AppendUint64(b, end64Len-12) // what follows this number
		b = le.AppendUint16(b, madeBy)
		b = le.AppendUint16(b, version45)
		b = le.AppendUint32(b, 0) // this disk
		b = le.AppendUint32(b, 0) // the directory's disk
		b = le.AppendUint64(b, uint64(entries))
		b = le.AppendUint64(b, uint64(entries))
		b = le.AppendUint64(b, uint64(length))
		b = le.AppendUint64(b, uint64(start))

		b = le.AppendUint32(b, sigLocator64)
		b = le.AppendUint32(b, 0) // the disk of what precedes
		b = le.AppendUint64(b, uint64(start+length))
		b = le.AppendUint32(b, 1) // disks
	}
	count := uint16(min(entries, math.MaxUint16))
	b = le.AppendUint32(b, sigEnd)
	b = le.AppendUint16(b, 0)
	b = le.AppendUint16(b, 0)
	b = le.AppendUint16(b, count)
	b = le.AppendUint16(b, count)
	b = le.AppendUint32(b, clamp32(length))
	b = le.AppendUint32(b, clamp32(start))
	return le.AppendUint16(b, 0) // no comment
}

// dosTime gives date and time as DOS has them (4.4.6), of 1980 to 2107, in steps of
// two seconds and without a zone. UTC makes the bytes the same everywhere.
func dosTime(unix int64) (date, clock uint16) {
	t := time.Unix(unix, 0).UTC()
	switch year := t.Year(); {
	case year < 1980:
		t = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	case year > 2107:
		t = time.Date(2107, 12, 31, 23, 59, 58, 0, time.UTC)
	}
	date = uint16(t.Day() + int(t.Month())<<5 + (t.Year()-1980)<<9)
	clock = uint16(t.Second()/2 + t.Minute()<<5 + t.Hour()<<11)
	return date, clock
}
