package worker

import (
	"context"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/archive"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
)

// runImages gives an engine the images of a run, and remembers what went wrong in a
// bucket meanwhile.
type runImages struct {
	w         *Worker
	projectID string
	images    []postgres.TaskImage // in the order of the task's zip

	mu    sync.Mutex
	first error
}

// runLinkTTL is how long a link to an image works; see broker.RunImage.
const runLinkTTL = 10 * time.Minute

// Each implements broker.RunImages.
func (r *runImages) Each(ctx context.Context, use func(broker.RunImage) error) error {
	names := archive.NewFlatNames()
	for _, img := range r.images {
		if err := ctx.Err(); err != nil {
			return err
		}
		key := r.projectID + "/" + img.Filename
		err := use(broker.RunImage{
			Name: names.Name(img.Name, img.Type), Type: img.Type, SizeBytes: img.SizeBytes,
			Open: func(ctx context.Context) (io.ReadCloser, error) {
				b, ok := r.w.Bucket(img.Bucket)
				if !ok {
					return nil, r.note(ctx, img, unknownBucket(img.Bucket))
				}
				body, err := b.OpenProven(ctx, key, img.ETag, img.SizeBytes, 0)
				if err != nil {
					return nil, r.note(ctx, img, err)
				}
				return &runBody{ReadCloser: body, ctx: ctx, of: r, img: img}, nil
			},
			Link: func(ctx context.Context) (string, error) {
				b, ok := r.w.Bucket(img.Bucket)
				if !ok {
					return "", r.note(ctx, img, unknownBucket(img.Bucket))
				}
				if !b.CanSignGet() {
					return "", nil
				}
				url, err := b.Link(ctx, key, img.ETag, "", runLinkTTL)
				if strings.HasPrefix(url, "/") { // the local bucket, reached through the API's port
					url = strings.TrimSuffix(r.w.PublicURL, "/") + url
				}
				return url, r.note(ctx, img, err)
			},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func unknownBucket(symbol string) error {
	return broker.Errorf(broker.CodeUnknownBucket, "the bucket %s is not configured any more", symbol)
}

// note remembers the first failure of a bucket, and says whose image it was.
func (r *runImages) note(ctx context.Context, img postgres.TaskImage, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	if broker.CodeOf(err) == broker.CodeNotFound {
		err = &broker.Error{Code: broker.CodeNotFound, Msg: img.Name + " is not in the bucket " + img.Bucket + " any more; remove it, or upload it again", Err: err}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// That an image changed is what decides, whatever failed beside it.
	if r.first == nil || broker.CodeOf(err) == broker.CodeChanged {
		r.first = err
	}
	return err
}

// fault is the first failure of a bucket.
func (r *runImages) fault() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.first
}

// runBody notes what goes wrong while an image is read.
type runBody struct {
	io.ReadCloser
	ctx context.Context
	of  *runImages
	img postgres.TaskImage
}

func (b *runBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = b.of.note(b.ctx, b.img, err)
	}
	return n, err
}
