package validate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/validate/internal/figures"
)

// Image judges an object. The verdict of a bad object has Reasons, of which the
// first says most; an error means that the check could not run (the source
// failed, ended early or changed, or ctx ended) and may be tried again.
//
// The verdict's checksums and size are always of the whole object, however early
// its picture failed, with one exception: an object over MaxObject is not read
// at all, and its size is the one that the source announced.
func Image(ctx context.Context, src Source, want Want) (broker.Verdict, error) {
	sizeBytes := src.Size()
	if sizeBytes < 0 {
		return broker.Verdict{}, fmt.Errorf("validate: the source announces the size %d", sizeBytes)
	}
	if want.MaxObject > 0 && sizeBytes > want.MaxObject {
		return broker.Verdict{
			Size: sizeBytes,
			Reasons: []broker.Reason{broker.Reasonf(broker.ReasonTooLarge, "the file has %s bytes, %s are the limit",
				figures.Of(sizeBytes), figures.Of(want.MaxObject))},
		}, nil
	}
	body, err := src.Open(ctx, 0)
	if err != nil {
		return broker.Verdict{}, fmt.Errorf("validate: opening: %w", err)
	}
	defer body.Close()

	m := newMeter(ctx, body, sizeBytes)
	c := &check{
		ctx: ctx, want: want, size: sizeBytes,
		in:     &stream{br: bufio.NewReaderSize(m, 64<<10)},
		ranged: &ranged{ctx: ctx, src: src, size: sizeBytes},
	}
	defer c.ranged.close()
	defer c.release()
	fault := c.picture()
	// What the picture's checker left unread belongs to the checksums too.
	io.Copy(io.Discard, m) //nolint:errcheck // the meter keeps the error
	for _, err := range []error{m.failed(), c.failed, c.ranged.err} {
		if err != nil {
			return broker.Verdict{}, fmt.Errorf("validate: reading: %w", err)
		}
	}
	c.facts(fault)
	if c.ranged.err != nil {
		return broker.Verdict{}, fmt.Errorf("validate: reading: %w", c.ranged.err)
	}
	v := broker.Verdict{SHA1: m.sum(), CRC32: m.crc, Size: m.count, Facts: c.found}
	v.Reasons = c.reasons(v, fault)
	c.finishThumb(&v, fault)
	return v, nil
}

// check is the state of one judgement.
type check struct {
	ctx    context.Context
	want   Want
	size   int64 // bytes
	in     *stream
	ranged *ranged
	kind   format
	found  broker.Facts
	exif   [][]byte // TIFF structures with the picture's EXIF that the walk met
	xmp    [][]byte // XMP packets likewise
	taken  int64    // bytes held of want.Budget
	thumb  thumbnail
	failed error // what kept a checker from its work, other than a source's error
}

// A fault is what is wrong with a picture.
type fault struct{ broker.Reason }

func (f *fault) Error() string { return f.String() }

func faultf(code broker.ReasonCode, format string, args ...any) *fault {
	return &fault{broker.Reasonf(code, format, args...)}
}

func corruptf(format string, args ...any) *fault {
	return faultf(broker.ReasonCorrupt, format, args...)
}

func truncatedf(format string, args ...any) *fault {
	return faultf(broker.ReasonTruncated, format, args...)
}

// picture lets the checker of the object's own format run. Nil: nothing is wrong
// with it. A decoder's panic is a finding about the bytes, never a crash.
func (c *check) picture() (f *fault) {
	defer func() {
		if r := recover(); r != nil {
			f = corruptf("its %s data makes the decoder fail near byte %s", c.kind.words, figures.Of(c.in.off))
		}
	}()
	c.kind = sniff(c.in.peek(sniffBytes))
	c.found.Type = c.kind.mime
	if c.kind.check == nil || c.size == 0 {
		return c.unsupported()
	}
	err := c.kind.check(c)
	c.release()
	if errors.As(err, &f) || err == nil {
		return f
	}
	c.failed = err
	return nil
}

func (c *check) unsupported() *fault {
	what := c.kind.words + " (" + c.kind.mime + ")"
	return faultf(broker.ReasonUnsupportedFormat, "the file is %s, not one of the formats taken: %s", what, taken)
}

// pixels holds a picture to the limit, before anything is allocated for it.
func (c *check) pixels(width, height int64) error {
	if width <= 0 || height <= 0 || width > 1<<31-1 || height > 1<<31-1 {
		return corruptf("the picture is said to be %s x %s pixels", figures.Of(width), figures.Of(height))
	}
	if limit := c.want.MaxPixels; limit > 0 && width > limit/height {
		return faultf(broker.ReasonTooManyPixels, "the picture is %s x %s, %s pixels; %s are the limit",
			figures.Of(width), figures.Of(height), figures.Of(width*height), figures.Of(limit))
	}
	return nil
}

// reserve takes memory from the Budget until release. False: it never fits.
func (c *check) reserve(n int64) (bool, error) {
	c.release()
	ok, err := c.want.Budget.take(c.ctx, n)
	if ok {
		c.taken = n
	}
	return ok, err
}

func (c *check) release() {
	if c.taken > 0 {
		c.want.Budget.give(c.taken)
		c.taken = 0
	}
}

func (c *check) note(format string, args ...any) {
	const enough = 20 // a hostile file must not fill the database with notes
	s := fmt.Sprintf(format, args...)
	if len(c.found.Notes) < enough {
		c.found.Notes = append(c.found.Notes, s)
	}
}

// structureOnly lowers the proof, with its reason.
func (c *check) structureOnly(format string, args ...any) {
	if c.found.Proof != broker.ProofStructure {
		c.found.Proof = broker.ProofStructure
		c.note(format, args...)
	}
}

// reasons lists what is wrong with the object. Bytes that are not the declared
// ones explain the faults of the picture in them, so they come first.
func (c *check) reasons(v broker.Verdict, f *fault) []broker.Reason {
	if v.Size == 0 {
		return []broker.Reason{broker.Reasonf(broker.ReasonEmpty, "the file has no bytes")}
	}
	var list []broker.Reason
	if c.want.Size >= 0 && c.want.Size != v.Size {
		list = append(list, broker.Reasonf(broker.ReasonSizeMismatch, "the file has %s bytes, %s were declared",
			figures.Of(v.Size), figures.Of(c.want.Size)))
	}
	if !c.want.SHA1.IsZero() && c.want.SHA1 != v.SHA1 {
		list = append(list, broker.Reasonf(broker.ReasonChecksumMismatch, "the bytes have sha1 %s, %s was declared",
			v.SHA1, c.want.SHA1))
	}
	if f != nil && c.want.Kind != broker.KindFiles {
		list = append(list, f.Reason)
	}
	return list
}

// declared gives the declared type, or that of the name's extension, where it
// contradicts the content.
func (c *check) declared() string {
	claims := []string{plainType(c.want.Type)}
	if i := strings.LastIndexByte(c.want.Name, '.'); i >= 0 {
		claims = append(claims, extensionType(strings.ToLower(c.want.Name[i+1:])))
	}
	for _, claim := range claims {
		switch {
		case claim == "" || claim == "application/octet-stream" || claim == c.found.Type:
		case c.kind.check == nil && !strings.HasPrefix(claim, "image/"):
			// What is no image is only guessed at: a text may well be the CSV it claims to be.
		case strings.HasPrefix(c.found.Type, "image/hei") && strings.HasPrefix(claim, "image/hei"):
			// HEIC is HEIF, and is declared as either.
		default:
			return claim
		}
	}
	return ""
}
