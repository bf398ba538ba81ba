package archive

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"iter"
	"math"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// format is part of every ETag: it changes with any change of the bytes that equal
// entries give.
const format = "uploadbroker zip 1"

// markEvery is how many files lie between two marks, which seeks begin at.
const markEvery = 128

// layout knows where every byte of a zip comes from.
type layout struct {
	items   spool
	buckets []string
	marks   []mark

	entries int
	central int64 // where the directory begins
	endAt   int64 // where it ends
	end     []byte
	etag    string
}

// mark is where a file begins that has markEvery others before it, or twice as
// many, and so on.
type mark struct {
	spooled int64 // in the spool
	local   int64 // its header
	central int64 // its record, from the directory's beginning
}

func (l *layout) size() int64 { return l.endAt + int64(len(l.end)) }

// errTooBig is for sizes whose sum no offset could hold.
var errTooBig = errors.New("the files of a zip are too many bytes")

// lay goes through the entries and lays the zip out.
func lay(ctx context.Context, dir string, kind broker.ZipLayout, entries iter.Seq2[broker.ZipEntry, error]) (_ *layout, err error) {
	l := &layout{items: spool{dir: dir}}
	raw := spool{dir: dir}
	defer func() {
		_ = raw.close() // a temporary file
		if err != nil {
			_ = l.items.close()
		}
	}()
	naming := newNaming(kind)
	if err := l.collect(ctx, &raw, naming, entries); err != nil {
		return nil, err
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\n%d\n", format, kind)
	if err := l.place(ctx, &raw, naming, sum); err != nil {
		return nil, err
	}
	l.end = endBytes(l.entries, l.central, l.endAt-l.central)
	l.etag = hex.EncodeToString(sum.Sum(nil)[:16])
	return l, nil
}

// naming is how a layout names its files.
type naming interface {
	// see is called for every entry, before name is.
	see(e broker.ZipEntry)
	name(name, contentType string) string
}

func newNaming(kind broker.ZipLayout) naming {
	if kind == broker.ZipFlat {
		return flatNaming{NewFlatNames()}
	}
	return treeNaming{newTreeNames()}
}

type flatNaming struct{ *FlatNames }

func (flatNaming) see(broker.ZipEntry)                    {}
func (n flatNaming) name(name, contentType string) string { return n.Name(name, contentType) }

type treeNaming struct{ *treeNames }

func (n treeNaming) see(e broker.ZipEntry)      { n.treeNames.see(e.Name) }
func (n treeNaming) name(name, _ string) string { return n.treeNames.name(name) }

// collect spools the entries as they come.
func (l *layout) collect(ctx context.Context, raw *spool, naming naming, entries iter.Seq2[broker.ZipEntry, error]) error {
	numbers := map[string]uint64{}
	var rec []byte
	for e, err := range entries {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if e.SizeBytes < 0 {
			return fmt.Errorf("the size of %s is not known", e.Key)
		}
		n, known := numbers[e.Bucket]
		if !known {
			n = uint64(len(l.buckets))
			numbers[e.Bucket] = n
			l.buckets = append(l.buckets, e.Bucket)
		}
		naming.see(e)
		rec = appendText(rec[:0], e.Name)
		rec = appendText(rec, e.Type)
		rec = appendItem(rec, unixOf(e.At), e.SizeBytes, e.CRC32, n, e.Key, e.ETag)
		if err := raw.write(rec); err != nil {
			return err
		}
	}
	return raw.flush()
}

func unixOf(t time.Time) int64 { return t.Unix() }

// appendItem writes what both spools hold of a file beside its name.
func appendItem(b []byte, unix, size int64, crc uint32, bucket uint64, key, etag string) []byte {
	b = appendSigned(b, unix)
	b = binary.AppendUvarint(b, uint64(size))
	b = binary.AppendUvarint(b, uint64(crc))
	b = binary.AppendUvarint(b, bucket)
	b = appendText(b, key)
	return appendText(b, etag)
}

// readItem reads what appendItem wrote, behind the name.
func (l *layout) readItem(f *fields, it *item) (bucket uint64) {
	it.unix = f.signed()
	it.size = int64(f.number())
	it.crc = uint32(f.number())
	bucket = f.number()
	it.key = f.text()
	it.etag = f.text()
	if f.err == nil && bucket >= uint64(len(l.buckets)) {
		f.err = errors.New("a record of a zip's temporary file is damaged")
	}
	if f.err == nil {
		it.bucket = l.buckets[bucket]
	}
	return bucket
}

// place gives every file its name and its place.
func (l *layout) place(ctx context.Context, raw *spool, naming naming, sum hash.Hash) error {
	in := fields{r: raw.from(0)}
	var rec []byte
	var local, central int64
	for in.more() {
		var it item
		name, contentType := in.text(), in.text()
		bucket := l.readItem(&in, &it)
		if in.err != nil {
			return in.err
		}
		if l.entries%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		it.name = naming.name(name, contentType)
		if l.entries%markEvery == 0 {
			l.marks = append(l.marks, mark{spooled: l.items.size, local: local, central: central})
		}
		rec = appendText(rec[:0], it.name)
		rec = appendItem(rec, it.unix, it.size, it.crc, bucket, it.key, it.etag)
		if err := l.items.write(rec); err != nil {
			return err
		}
		sum.Write(rec)
		if local > math.MaxInt64/2 || it.size > math.MaxInt64/4 {
			return errTooBig
		}
		central += it.centralBytes(local)
		local += it.localBytes() + it.size
		l.entries++
	}
	if in.err != nil {
		return in.err
	}
	l.central, l.endAt = local, local+central
	return l.items.flush()
}
