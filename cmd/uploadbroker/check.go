package main

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/uploadbroker/uploadbroker/api/client"
	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/validate"
)

// checkCmd judges files on the local disk as the worker would.
type checkCmd struct {
	Paths []string `arg:"" name:"path" help:"Files, or folders with the folders below them."`
	JSON  bool     `help:"One line of JSON for each file, in the order of the input."`
	All   bool     `help:"In folders, check every file, not only those that look like images."`
}

// checked is what was found out about one file; its JSON is what --json prints.
type checked struct {
	Path    string       `json:"path"`
	State   string       `json:"state"` // Ready, Invalid; "" when it could not be checked
	Reasons []string     `json:"reasons"`
	SHA1    string       `json:"sha1,omitempty"`
	Size    int64        `json:"size"`
	Type    string       `json:"type,omitempty"`
	Width   int          `json:"width,omitempty"`
	Height  int          `json:"height,omitempty"`
	Proof   broker.Proof `json:"proof,omitempty"`
	Error   string       `json:"error,omitempty"` // why it could not be checked
}

// Run checks the files on all cores and prints them in their order.
func (c *checkCmd) Run(ctx context.Context, io stdio) error {
	list, left, err := c.list(ctx)
	if err != nil {
		return err
	}
	out := screenOf(io.Out)
	var total checkTotal
	enc := json.NewEncoder(io.Out)
	enc.SetEscapeHTML(false)
	var rows []tableRow
	c.each(ctx, list, func(r checked) {
		total.add(r)
		if c.JSON {
			_ = enc.Encode(r) // whoever reads may have gone
			return
		}
		rows = append(rows, r.row())
	})
	if ctx.Err() != nil {
		return &exitError{exitInterrupted, "stopped."}
	}
	if !c.JSON {
		if len(rows) > fewFiles {
			rows = slices.DeleteFunc(rows, func(r tableRow) bool { return r.state == client.StateReady })
		}
		showTable(out, rows)
		if len(rows) > 0 {
			fmt.Fprintln(out.w)
		}
		fmt.Fprintln(out.w, total.line(left))
	}
	switch {
	case total.unread > 0:
		return &exitError{code: exitUsage}
	case total.invalid > 0:
		return &exitError{code: exitNotReady}
	}
	return nil
}

// candidate is a file to check, or why it can't be.
type candidate struct {
	path string
	err  error
}

// list resolves the arguments. A file that is named is checked whatever it is.
func (c *checkCmd) list(ctx context.Context) (out []candidate, left int, err error) {
	for _, path := range c.Paths {
		l, err := client.Scan(ctx, path, client.ScanOptions{All: c.All})
		if ctx.Err() != nil {
			return nil, 0, &exitError{exitInterrupted, "stopped."}
		}
		if err != nil {
			out = append(out, candidate{path, err})
			continue
		}
		for _, f := range l.Files {
			out = append(out, candidate{path: f.Path})
		}
		for _, f := range l.Unread {
			out = append(out, candidate{f.Path, f.Err})
		}
		left += l.LeftOut
	}
	return out, left, nil
}

// each checks the files, as many at once as there are cores, and gives the
// results in order. What is ahead of the slowest is bounded.
func (c *checkCmd) each(ctx context.Context, list []candidate, use func(checked)) {
	workers := runtime.GOMAXPROCS(0)
	budget := validate.NewBudget(1 << 30) // bytes; the default of worker.memory
	type task struct {
		candidate
		result chan checked
	}
	todo := make(chan task)
	order := make(chan chan checked, 16*workers)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for t := range todo {
				t.result <- checkFile(ctx, t.candidate, budget)
			}
		})
	}
	wg.Go(func() {
		defer close(order)
		defer close(todo)
		for _, f := range list {
			t := task{f, make(chan checked, 1)}
			select {
			case <-ctx.Done():
				return
			case order <- t.result:
			}
			todo <- t // workers end their files quickly when ctx has ended
		}
	})
	for result := range order {
		if r := <-result; ctx.Err() == nil {
			use(r)
		}
	}
	wg.Wait()
}

func checkFile(ctx context.Context, f candidate, budget *validate.Budget) checked {
	r := checked{Path: f.path, Reasons: []string{}}
	if f.err != nil {
		r.Error = f.err.Error()
		return r
	}
	src, err := validate.FromFile(f.path)
	if err != nil {
		r.Error = err.Error()
		return r
	}
	r.Size = src.Size()
	v, err := validate.Image(ctx, src, validate.Want{
		Kind: broker.KindRecon, Name: f.path, Size: -1, MaxPixels: maxCheckPixels, Budget: budget,
		Thumb: true, // made and dropped: a check does the worker's work, and costs what it costs
	})
	if err != nil {
		r.Error = err.Error()
		return r
	}
	r.State = client.StateReady
	if !v.Sound() {
		r.State = client.StateInvalid
	}
	for _, reason := range v.Reasons {
		r.Reasons = append(r.Reasons, reason.String())
	}
	r.SHA1, r.Type, r.Width, r.Height, r.Proof = v.SHA1.String(), v.Facts.Type, v.Facts.Width, v.Facts.Height, v.Facts.Proof
	return r
}

// maxCheckPixels is the default of limits.max_pixels.
const maxCheckPixels = 500_000_000

func (r checked) row() tableRow {
	row := tableRow{state: r.State, name: clean(r.Path), size: size(r.Size), color: green}
	switch {
	case r.Error != "":
		row.state, row.size, row.note, row.color = "Unread", "-", clean(r.Error), red
	case len(r.Reasons) > 0:
		row.note, row.color = clean(strings.Join(r.Reasons, "; ")), red
	case r.Width > 0:
		row.note = fmt.Sprintf("%s, %d × %d", clean(r.Type), r.Width, r.Height)
		if r.Proof != broker.ProofFull {
			row.note += ", " + string(r.Proof) + " only"
		}
	}
	return row
}

// checkTotal counts results.
type checkTotal struct{ ready, invalid, unread int }

func (t *checkTotal) add(r checked) {
	switch {
	case r.Error != "":
		t.unread++
	case r.State == client.StateReady:
		t.ready++
	default:
		t.invalid++
	}
}

func (t checkTotal) line(left int) string {
	s := fmt.Sprintf("%s Ready, %s Invalid", count(t.ready), count(t.invalid))
	if t.unread > 0 {
		s += fmt.Sprintf(", %s could not be read", count(t.unread))
	}
	if left > 0 {
		s += fmt.Sprintf("; %s left out, see --all", files(left, "other file"))
	}
	return s
}
