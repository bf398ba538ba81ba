package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/worker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// worker is the retention as the worker takes it.
func (r retention) worker() worker.Retention {
	return worker.Retention{Invalid: time.Duration(r.Invalid), Orphans: time.Duration(r.Orphans)}
}

type bucketsOrphansCmd struct {
	operator
	Bucket []string `placeholder:"SYMBOL" help:"Only in this bucket; may be given several times."`
	Sweep  bool     `help:"Delete what is due."`
	JSON   bool     `name:"json" help:"Print a JSON object for each on a line of its own."`
}

// Help explains what the table can't.
func (c *bucketsOrphansCmd) Help() string {
	return `An orphan is an object that serves no image any more:

  INVALID    of an Invalid image; due when retention.invalid has passed since its verdict
  ENDED      of an attempt that another followed; due after retention.orphans, as all below
  MULTIPART  an upload in parts that was begun and not finished
  THUMB      the thumbnail of an image that is gone, is not Ready, or has none
  RESULT     of a reconstruction that has ended and has no such result
  STRAY      below a project of this database or among its thumbnails and results, and nobody's
  ELSEWHERE  of an image that has its object in another bucket
  FOREIGN    below projects that this database never had, perhaps another installation's;
             never swept

The workers sweep INVALID, ENDED, MULTIPART, THUMB and RESULT by themselves, once a day. The others go only
when you say --sweep: after a database was restored from yesterday's backup, today's photos
look like strays. So look at the list first.`
}

// Run lists the orphans of each bucket, and sweeps them.
func (c *bucketsOrphansCmd) Run(ctx context.Context, io stdio) error {
	cfg, err := c.load(nil)
	if err != nil {
		return &exitError{exitUsage, err.Error()}
	}
	return c.with(ctx, io, func(db *database, _ *broker.Keys) error {
		all, err := openBuckets(ctx, cfg, func(string, string, time.Duration, broker.Code) {})
		if err != nil {
			return err
		}
		defer all.Close()
		buckets, err := c.chosen(all.all())
		if err != nil {
			return err
		}
		r := &orphanReport{io: io, now: time.Now(), json: c.JSON, sweep: c.Sweep, totals: map[worker.OrphanClass]*orphanTotal{}}
		w := worker.New(worker.Config{
			Store: db.Store, Buckets: buckets, Log: slog.New(slog.DiscardHandler), Retention: cfg.Retention.worker(), Now: time.Now,
		})
		for _, b := range buckets {
			if err := r.bucket(ctx, w, b); err != nil {
				return err
			}
		}
		return r.finish(buckets)
	})
}

// chosen narrows the buckets to those named.
func (c *bucketsOrphansCmd) chosen(all []*storage.Bucket) ([]*storage.Bucket, error) {
	if len(c.Bucket) == 0 {
		return all, nil
	}
	var chosen []*storage.Bucket
	for _, symbol := range c.Bucket {
		i := slices.IndexFunc(all, func(b *storage.Bucket) bool { return b.Info().Symbol == symbol })
		if i < 0 {
			return nil, &exitError{exitUsage, fmt.Sprintf("no bucket %s is configured; `uploadbroker buckets list` tells them", symbol)}
		}
		if !slices.Contains(chosen, all[i]) {
			chosen = append(chosen, all[i])
		}
	}
	return chosen, nil
}

// orphanReport is what was found and done in the buckets so far.
type orphanReport struct {
	io          stdio
	now         time.Time
	json, sweep bool
	rows        []orphanRow
	totals      map[worker.OrphanClass]*orphanTotal
	failed      int // buckets
}

// orphanRow is an orphan and whether it is gone now.
type orphanRow struct {
	worker.Orphan
	swept bool
}

// orphanTotal sums up a class.
type orphanTotal struct {
	objects, due, swept   int
	bytes, dueBy, sweptBy int64 // bytes
}

// orphanOrder is the order of the classes in table and totals: first what goes by
// itself.
var orphanOrder = []worker.OrphanClass{
	worker.OrphanInvalid, worker.OrphanEnded, worker.OrphanMultipart, worker.OrphanThumb, worker.OrphanResult, worker.OrphanStray, worker.OrphanElsewhere, worker.OrphanForeign,
}

// bucket lists and sweeps one. A bucket that fails is told at once, and the others
// still come.
func (r *orphanReport) bucket(ctx context.Context, w *worker.Worker, b *storage.Bucket) error {
	symbol := b.Info().Symbol
	var found []worker.Orphan
	err := w.Orphans(ctx, b, func(o worker.Orphan) error { found = append(found, o); return nil })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	gone := map[string]bool{}
	switch {
	case err != nil:
		r.fault("%s could not be listed to its end: %s", symbol, inWords(err))
	case r.sweep:
		var swept []worker.Orphan
		swept, err = w.SweepOrphans(ctx, b, found)
		for _, o := range swept {
			gone[id(o)] = true
		}
		if err != nil && ctx.Err() == nil {
			r.fault("in %s not all that is due could be swept: %s", symbol, inWords(err))
		}
	}
	rows := make([]orphanRow, len(found))
	for i, o := range found {
		rows[i] = orphanRow{o, gone[id(o)]}
		r.count(rows[i])
	}
	slices.SortStableFunc(rows, func(x, y orphanRow) int {
		return slices.Index(orphanOrder, x.Class) - slices.Index(orphanOrder, y.Class)
	})
	r.rows = append(r.rows, rows...)
	return ctx.Err()
}

// id tells orphans of a bucket apart.
func id(o worker.Orphan) string { return string(o.Class) + " " + o.Key + " " + o.UploadID() }

// inWords is an error with all that an operator may see of it.
func inWords(err error) string {
	var known *broker.Error
	if errors.As(err, &known) && known.Msg != "" {
		if known.Err != nil {
			return fmt.Sprintf("%s (%v)", known.Msg, known.Err)
		}
		return known.Msg
	}
	return err.Error()
}

func (r *orphanReport) fault(format string, args ...any) {
	r.failed++
	fmt.Fprintf(r.io.Err, "uploadbroker: "+format+"\n", args...)
}

func (r *orphanReport) count(row orphanRow) {
	t := r.totals[row.Class]
	if t == nil {
		t = &orphanTotal{}
		r.totals[row.Class] = t
	}
	n, bytes := row.Objects, max(row.SizeBytes, 0)
	t.objects, t.bytes = t.objects+n, t.bytes+bytes
	if row.Due(r.now) {
		t.due, t.dueBy = t.due+n, t.dueBy+bytes
	}
	if row.swept {
		t.swept, t.sweptBy = t.swept+n, t.sweptBy+bytes
	}
}

// finish prints all and says how it went.
func (r *orphanReport) finish(buckets []*storage.Bucket) error {
	print := r.table
	if r.json {
		print = r.lines
	}
	if err := print(r.io.Out); err != nil {
		return err
	}
	r.summary(r.io.Err, len(buckets))
	if r.failed > 0 {
		return &exitError{code: exitNotReady}
	}
	return nil
}

// table prints a row for each; names are foreign texts.
func (r *orphanReport) table(out io.Writer) error {
	if len(r.rows) == 0 {
		return nil
	}
	rows := [][]string{{"BUCKET", "CLASS", "KEY", "SIZE", "AGE", "WHY"}}
	widths := make([]int, len(rows[0]))
	for _, row := range r.rows {
		bytes := "–"
		if row.SizeBytes >= 0 {
			bytes = size(row.SizeBytes)
		}
		rows = append(rows, []string{row.Bucket, string(row.Class), clean(row.Key), bytes, span(r.now.Sub(row.Modified)), r.why(row)})
	}
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], columns(cell))
		}
	}
	for _, row := range rows {
		line := ""
		for i, cell := range row {
			w := widths[i]
			if i == 3 || i == 4 { // numbers
				w = -w
			}
			line += pad(cell, w) + "  "
		}
		if _, err := fmt.Fprintln(out, strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	return nil
}

// why says it in words, and when it goes.
func (r *orphanReport) why(row orphanRow) string {
	text := row.Why
	if row.Class == worker.OrphanForeign {
		text += ": " + files(row.Objects, "object")
	}
	if !row.Since.IsZero() {
		text += " " + span(r.now.Sub(row.Since)) + " ago"
	}
	switch {
	case row.swept:
		return text + "; swept"
	case row.Class == worker.OrphanForeign:
		return text + "; never swept"
	case row.DueAt.IsZero():
		return text + "; its name can't be handled, delete it with the cloud's own tools"
	case row.Due(r.now) && r.sweep:
		return text + "; kept, since it changed or could not be reached"
	case row.Due(r.now):
		return text + "; due"
	}
	return text + "; due in " + span(row.DueAt.Sub(r.now))
}

// span writes a time in one unit, rounded down.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", max(int(d.Seconds()), 0))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return files(int(d.Hours()/24), "day")
}

// orphanLine is a row for programs.
type orphanLine struct {
	Bucket   string     `json:"bucket"`
	Class    string     `json:"class"`
	Key      string     `json:"key"`
	Objects  int        `json:"objects"` // 1, but of a foreign prefix
	Size     *int64     `json:"size"`    // bytes; null: not known
	Modified time.Time  `json:"modified"`
	Image    string     `json:"image,omitempty"`
	Attempt  int        `json:"attempt,omitempty"`
	Upload   string     `json:"upload,omitempty"` // id of an upload in parts
	Why      string     `json:"why"`
	DueAt    *time.Time `json:"due_at"` // null: never
	Due      bool       `json:"due"`
	Swept    bool       `json:"swept"`
}

func (r *orphanReport) lines(out io.Writer) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for _, row := range r.rows {
		line := orphanLine{
			Bucket: row.Bucket, Class: string(row.Class), Key: row.Key, Objects: row.Objects, Modified: row.Modified.UTC(),
			Image: row.ImageID, Attempt: row.Attempt, Upload: row.UploadID(), Why: r.why(row), Due: row.Due(r.now), Swept: row.swept,
		}
		if row.SizeBytes >= 0 {
			line.Size = &row.SizeBytes
		}
		if !row.DueAt.IsZero() {
			at := row.DueAt.UTC()
			line.DueAt = &at
		}
		if err := enc.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

// summary tells the totals by class, and what was done.
func (r *orphanReport) summary(out io.Writer, buckets int) {
	var due, swept orphanTotal
	for _, class := range orphanOrder {
		t := r.totals[class]
		if t == nil {
			continue
		}
		due.due, due.dueBy = due.due+t.due, due.dueBy+t.dueBy
		swept.swept, swept.sweptBy = swept.swept+t.swept, swept.sweptBy+t.sweptBy
		line := fmt.Sprintf("%-9s  %s", class, orphansOf(t.objects, t.bytes))
		switch {
		case class == worker.OrphanForeign:
			line += "; never swept"
		case r.sweep:
			line += fmt.Sprintf("; %s swept", count(t.swept))
		default:
			line += fmt.Sprintf("; %s due", count(t.due))
		}
		fmt.Fprintln(out, line)
	}
	switch {
	case len(r.totals) == 0 && r.failed == 0:
		fmt.Fprintf(out, "No orphans in %s.\n", files(buckets, "bucket"))
	case r.sweep:
		fmt.Fprintf(out, "Swept %s.\n", orphansOf(swept.swept, swept.sweptBy))
	case due.due > 0:
		fmt.Fprintf(out, "Nothing was deleted. --sweep deletes what is due: %s.\n", orphansOf(due.due, due.dueBy))
	default:
		fmt.Fprintln(out, "Nothing was deleted, and nothing is due.")
	}
}

// orphansOf writes "3 objects, 40.1 MB".
func orphansOf(n int, bytes int64) string { return files(n, "object") + ", " + size(bytes) }
