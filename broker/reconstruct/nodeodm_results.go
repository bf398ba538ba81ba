package reconstruct

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"

	"github.com/uploadbroker/uploadbroker/broker"
)

// allZip is everything that a task made, at the node and here.
const allZip = "all.zip"

// Results is one zip. A node that worked with fewer images than it was given made
// something else than was asked for.
func (n *NodeODM) Results(ctx context.Context, t broker.Task) ([]broker.RunResult, error) {
	info, err := n.task(ctx, t.RunID)
	if err != nil {
		return nil, err
	}
	if info.Images != nil && *info.Images > 0 && *info.Images < t.Images {
		return nil, broker.Errorf(broker.CodeConflict, "the engine worked with %d of %d images", *info.Images, t.Images)
	}
	open := func(ctx context.Context) (io.ReadCloser, error) { return n.download(ctx, t.RunID) }
	return []broker.RunResult{{Name: allZip, Type: "application/zip", SizeBytes: -1, Open: open}}, nil
}

// download streams the zip, which is checked while it passes.
func (n *NodeODM) download(ctx context.Context, runID string) (io.ReadCloser, error) {
	ctx, watch := watchIdle(ctx, n.o.IdleTimeout)
	resp, err := n.send(ctx, request{method: http.MethodGet, path: "/task/" + runID + "/download/" + allZip})
	if err != nil {
		watch.stop()
		return nil, err
	}
	d := &download{ctx: ctx, body: resp.Body, from: &movingReader{from: resp.Body, watch: watch, rest: true}, watch: watch}
	first := make([]byte, len(localHeader))
	got, err := io.ReadFull(d.from, first)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		d.Close()
		return nil, lost(ctx, err)
	}
	if first = first[:got]; !bytes.Equal(first, localHeader) && !bytes.Equal(first, endHeader) {
		defer d.Close()
		return nil, n.noZip(first, d.from)
	}
	d.from = io.MultiReader(bytes.NewReader(first), d.from)
	return d, nil
}

// noZip says what came instead: mostly a no, with status 200 like everything.
func (n *NodeODM) noZip(first []byte, rest io.Reader) error {
	text, err := io.ReadAll(io.MultiReader(bytes.NewReader(first), io.LimitReader(rest, 64<<10)))
	if err == nil && len(text) > 0 {
		if err := n.understand(text, nil); err != nil {
			return err
		}
	}
	return unavailable(err, "the engine sent no zip of its results")
}

// How a zip begins, and how its last record does, which also begins an empty one
// (PKWARE's APPNOTE.TXT, 4.3.7 and 4.3.16).
var (
	localHeader = []byte("PK\x03\x04")
	endHeader   = []byte("PK\x05\x06")
)

const (
	endSize    = 22     // of the last record without its comment
	maxComment = 0xFFFF // at most
)

// download is a zip on its way. It fails at its end when the end of the zip is
// missing: a full disk at the node cuts the file, and its length is told as it is.
type download struct {
	ctx   context.Context
	body  io.Closer
	from  io.Reader
	watch *idle
	tail  []byte // the last that passed
}

func (d *download) Read(p []byte) (int, error) {
	n, err := d.from.Read(p)
	d.keep(p[:n])
	switch {
	case err == nil:
	case !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		err = lost(d.ctx, err)
	case !d.ended():
		err = unavailable(nil, "the engine's zip of its results is cut off")
	}
	return n, err
}

// keep holds on to the last bytes, as many as the end of a zip may have.
func (d *download) keep(p []byte) {
	const most = endSize + maxComment
	d.tail = append(d.tail, p[max(len(p)-most, 0):]...)
	if len(d.tail) > 4*most {
		d.tail = append(d.tail[:0], d.tail[len(d.tail)-most:]...)
	}
}

// ended finds the last record, whose comment reaches to the very end.
func (d *download) ended() bool {
	for at := len(d.tail) - endSize; at >= 0; at-- {
		if bytes.HasPrefix(d.tail[at:], endHeader) && at+endSize+int(binary.LittleEndian.Uint16(d.tail[at+endSize-2:])) == len(d.tail) {
			return true
		}
	}
	return false
}

// Close lets the node go.
func (d *download) Close() error {
	d.watch.stop()
	return d.body.Close()
}
