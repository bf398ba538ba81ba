package reconstruct

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/uploadbroker/uploadbroker/broker"
)

// parallelUploads hide that each image waits for its answer.
const parallelUploads = 4

// sendImages opens an upload, sends each image by itself and closes it. The node
// can't tell what it has of an upload, so that a new try begins with nothing.
func (n *NodeODM) sendImages(ctx context.Context, run broker.Run, fields [][2]string) error {
	if err := n.discard(ctx, run.RunID); err != nil {
		return err
	}
	err := n.create(ctx, "/task/new/init", run.RunID, fields)
	if broker.CodeOf(err) == broker.CodeConflict {
		return n.taken(ctx, run)
	}
	if err != nil {
		return err
	}
	var count atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelUploads)
	err = run.Images.Each(gctx, func(image broker.RunImage) error {
		if err := gctx.Err(); err != nil {
			return lost(gctx, err)
		}
		g.Go(func() error {
			count.Add(1)
			return n.sendImage(gctx, run.RunID, image)
		})
		return nil
	})
	if sent := g.Wait(); sent != nil {
		return sent // the first that failed; Each ended because of it
	}
	if err != nil {
		return err
	}
	return n.commit(ctx, run.RunID, int(count.Load()))
}

// commit closes an upload. Whether the node has the task says /info alone: a second
// commit is refused, and of the first the answer may be lost.
func (n *NodeODM) commit(ctx context.Context, runID string, images int) error {
	refused := n.post(ctx, "/task/new/commit/"+runID)
	t, err := n.task(ctx, runID)
	switch {
	case broker.CodeOf(err) == broker.CodeNotFound && refused != nil:
		return again(refused)
	case err != nil:
		return again(err)
	case !t.counts(images):
		// A transfer that broke off left a piece, and the next try of the same image
		// got another name (NodeODM's taskNew.js, assureUniqueFilename).
		if err := n.remove(ctx, runID); err != nil {
			return err
		}
		return unavailable(nil, "the engine has %d images where %d were sent; sending all again", *t.Images, images)
	}
	return nil
}

// again makes of a lost upload something that is worth another try.
func again(err error) error {
	if broker.CodeOf(err) == broker.CodeNotFound {
		return unavailable(err, "the engine lost what was sent; sending all again")
	}
	return err
}

// sendImage tries until the node has it, or tells why it won't.
func (n *NodeODM) sendImage(ctx context.Context, runID string, image broker.RunImage) error {
	for try := 0; ; try++ {
		err := n.tryImage(ctx, runID, image)
		if !transient(err) || try == len(n.retries) || ctx.Err() != nil {
			return again(err)
		}
		n.o.Log.Debug("an image did not reach the engine", "run", runID, "image", image.Name, "err", err)
		if err := pause(ctx, n.retries[try]); err != nil {
			return err
		}
	}
}

// tryImage streams an object into a request whose length is told before, so that a
// part of an image is never taken for the whole.
func (n *NodeODM) tryImage(ctx context.Context, runID string, image broker.RunImage) error {
	ctx, watch := watchIdle(ctx, n.o.IdleTimeout)
	defer watch.stop()
	object, err := image.Open(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return lost(ctx, err)
		}
		return err
	}
	release := sync.OnceFunc(func() { object.Close() })
	defer release()
	defer context.AfterFunc(ctx, release)() // a read that stands still ends with it

	var frame bytes.Buffer
	w := multipart.NewWriter(&frame)
	header := textproto.MIMEHeader{}
	header.Set("Content-Disposition", fmt.Sprintf(`form-data; name="images"; filename="%s"`, quoted.Replace(image.Name)))
	header.Set("Content-Type", image.Type)
	if image.Type == "" {
		header.Set("Content-Type", "application/octet-stream")
	}
	if _, err := w.CreatePart(header); err != nil {
		return err
	}
	head := frame.Len()
	if err := w.Close(); err != nil {
		return err
	}
	source := &sourceReader{from: object, left: image.SizeBytes}
	body := io.MultiReader(bytes.NewReader(frame.Bytes()[:head]), source, bytes.NewReader(frame.Bytes()[head:]))
	err = n.ask(ctx, request{
		method: http.MethodPost, path: "/task/new/upload/" + runID, kind: w.FormDataContentType(),
		body: &movingReader{from: body, watch: watch}, length: int64(frame.Len()) + image.SizeBytes,
	}, nil)
	if failed := source.failed.Load(); failed != nil && err != nil {
		return *failed // the request broke because of it
	}
	return err
}

var quoted = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "%0D", "\n", "%0A")

// sourceReader reads exactly the bytes of an object and remembers that it was the
// object that failed.
type sourceReader struct {
	from   io.Reader
	left   int64
	failed atomic.Pointer[error] // the transport reads in a goroutine of its own
}

func (r *sourceReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.from.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if err != nil && (r.left > 0 || !errors.Is(err, io.EOF)) {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		err = broker.Wrap(err, broker.CodeUnavailable, "an image could not be read from its bucket")
		r.failed.Store(&err)
		return n, err
	}
	return n, nil
}

// discard ends an upload that was begun and not closed. There is no call for it: the
// upload is closed under another name, and the task that comes of it is removed. The
// name tells a later try what it is, should this one be killed in between.
func (n *NodeODM) discard(ctx context.Context, runID string) error {
	open, err := n.uploading(ctx, runID)
	if err != nil || !open {
		return err
	}
	n.o.Log.Info("discarding what an earlier try sent to the engine", "run", runID)
	err = n.create(ctx, "/task/new/init", runID, [][2]string{{"name", discarded}, {"options", "[]"}})
	if err != nil && transient(err) {
		return err
	}
	// An old node refuses a second init and removes the first in doing so.
	if err == nil {
		// One without a file is refused, and removed as well.
		if err := n.post(ctx, "/task/new/commit/"+runID); err != nil && transient(err) {
			return err
		}
	}
	return n.remove(ctx, runID)
}

// uploading asks whether there is an open upload, by sending it nothing: it refuses
// that, but in other words than it uses when there is none.
func (n *NodeODM) uploading(ctx context.Context, runID string) (bool, error) {
	err := n.multipart(ctx, "/task/new/upload/"+runID, "", [][2]string{{"images", ""}}, nil) // a text is no file
	switch code := broker.CodeOf(err); code {
	case broker.CodeNotFound:
		return false, nil
	case "", broker.CodeInvalid:
		return true, nil
	default:
		return false, err
	}
}
