package client

import (
	"context"
	"errors"
	"sync"
)

// PlannedFile is what an upload would do with one file.
type PlannedFile struct {
	File
	SizeBytes int64
	SHA1      string
	Status    string // exists: nothing to send; open, invalid, absent: to be sent
	Image     *Image // what the server has of these bytes
	SameAs    string // the name of another file with the same bytes, which would be sent for both
	Err       error  // it could not be read or checked
}

// Send reports whether the file's bytes would be sent.
func (f PlannedFile) Send() bool {
	return f.Err == nil && f.SameAs == "" && f.Status != StatusExists
}

// Plan says what Upload would do, without doing it: it reads the files (or the
// hash cache) and asks the server which bytes it has. With an empty pid, for a
// project that is yet to be made, it asks nothing.
func (c *Client) Plan(ctx context.Context, pid string, files []File, opts UploadOptions) ([]PlannedFile, error) {
	r := newRun(c, pid, files, opts)
	cache, closeCache := r.opts.cache()
	defer closeCache()
	r.hash.cache = cache
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.cancel = cancel

	var wg sync.WaitGroup
	for range r.opts.HashWorkers {
		wg.Go(func() { r.hashAll(ctx) })
	}
	wg.Wait()
	// hashAll cancels with errFinished when no file could be read: that is an answer.
	if err := context.Cause(ctx); err != nil && !errors.Is(err, errFinished) {
		return nil, err
	}

	out := make([]PlannedFile, len(r.items))
	firsts := map[string]int{}
	var ask []*item
	for i, it := range r.items {
		out[i] = PlannedFile{File: it.File, SizeBytes: it.size, SHA1: it.sha1, Err: it.rep.Err}
		if it.rep.Err != nil {
			continue
		}
		if first, ok := firsts[it.sha1]; ok {
			out[i].SameAs = out[first].Name
			continue
		}
		firsts[it.sha1] = i
		out[i].Status = StatusAbsent
		ask = append(ask, it)
	}
	if pid == "" || len(ask) == 0 {
		return out, nil
	}
	err := r.inBatches(ask, func(part []*item) error {
		sums := make([]string, len(part))
		for i, it := range part {
			sums[i] = it.sha1
		}
		results, err := r.c.Check(ctx, pid, sums)
		for i, res := range results {
			p := &out[firsts[sums[i]]]
			if p.Status, p.Image = res.Status, res.Image; res.Status == StatusProblem {
				p.Err = entryError(res.Problem, "check")
			}
		}
		return err
	})
	for i := range out {
		if first, ok := firsts[out[i].SHA1]; ok && out[i].SameAs != "" {
			out[i].Status, out[i].Image, out[i].Err = out[first].Status, out[first].Image, out[first].Err
		}
	}
	return out, err
}
