package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// bucketsCmd looks at the configured buckets.
type bucketsCmd struct {
	List    bucketsListCmd    `cmd:"" help:"List the configured buckets."`
	Check   bucketsCheckCmd   `cmd:"" help:"Write, read, list and delete a small object in each bucket."`
	Events  bucketsEventsCmd  `cmd:"" help:"Tell where buckets send their events, so that uploads are seen at once."`
	Orphans bucketsOrphansCmd `cmd:"" help:"List what serves no image any more, and delete it with --sweep."`
}

type bucketsListCmd struct{ configFlags }

// Run lists them as the configuration has them; no bucket is reached.
func (c *bucketsListCmd) Run(io stdio) error {
	cfg, err := c.load(nil)
	if err != nil {
		return &exitError{exitUsage, err.Error()}
	}
	var rows [][]string
	if *cfg.LocalBucket.Enabled {
		rows = append(rows, []string{cfg.LocalBucket.Symbol, cfg.LocalBucket.Display, string(broker.CloudS3), cfg.DataDir + "/objects", "all"})
	}
	for _, b := range cfg.Buckets {
		place := b.Bucket
		if b.Endpoint != "" {
			place += " at " + b.Endpoint
		} else if b.Region != "" {
			place += " in " + b.Region
		}
		rows = append(rows, []string{b.Symbol, b.Display, b.Cloud, place, b.offered()})
	}
	return table(io, "SYMBOL\tNAME\tCLOUD\tPLACE\tOFFERED TO", rows)
}

// offered says in words to whom a bucket is offered.
func (b bucketConfig) offered() string {
	if b.Drain {
		return "nobody (drain)"
	}
	words := "all"
	if len(b.Countries.Only) > 0 {
		words = strings.Join(b.Countries.Only, ", ")
	}
	if len(b.Countries.Except) > 0 {
		words += " except " + strings.Join(b.Countries.Except, ", ")
	}
	if b.Countries.Enforce {
		words += ", enforced"
	}
	return words
}

type bucketsCheckCmd struct{ configFlags }

// Run tries each bucket with the broker's own credentials.
func (c *bucketsCheckCmd) Run(ctx context.Context, io stdio) error {
	cfg, err := c.load(nil)
	if err != nil {
		return &exitError{exitUsage, err.Error()}
	}
	all, err := openBuckets(ctx, cfg, func(string, string, time.Duration, broker.Code) {})
	if err != nil {
		return err
	}
	defer all.Close()
	var rows [][]string
	bad := false
	for _, b := range all.all() {
		began := time.Now()
		verdict, err := tryBucket(ctx, b)
		if err != nil {
			bad, verdict = true, err.Error()
		}
		rows = append(rows, []string{b.Info().Symbol, time.Since(began).Round(time.Millisecond).String(), verdict})
	}
	if err := table(io, "SYMBOL\tTOOK\tVERDICT", rows); err != nil {
		return err
	}
	if bad {
		return &exitError{code: exitNotReady}
	}
	return nil
}

// tryBucket does once what the broker does in a bucket.
func tryBucket(ctx context.Context, b *storage.Bucket) (verdict string, err error) {
	const text = "uploadbroker was here\n"
	key := storage.CheckPrefix + broker.NewID(time.Now())
	if _, err := b.Put(ctx, key, strings.NewReader(text), storage.PutOptions{ContentType: "text/plain", SizeBytes: int64(len(text))}); err != nil {
		return "", fmt.Errorf("can't write: %w", err)
	}
	obj, err := b.Stat(ctx, key)
	if err != nil {
		return "", fmt.Errorf("can't read: %w", err)
	}
	if obj.SizeBytes != int64(len(text)) {
		return "", fmt.Errorf("%d bytes were written, %d are there", len(text), obj.SizeBytes)
	}
	listed, err := b.List(ctx, key, "", 1)
	if err != nil {
		return "", fmt.Errorf("can't list: %w", err)
	}
	if len(listed) != 1 {
		return "", fmt.Errorf("what was written is not listed")
	}
	if err := b.Delete(ctx, key); err != nil {
		return "", fmt.Errorf("can't delete: %w", err)
	}
	if b.CanSession() {
		if _, err := b.Session(ctx, storage.CheckPrefix); err != nil {
			return "", fmt.Errorf("can't get a session for clients: %w", err)
		}
	}
	if !b.CanProbe() {
		return "good; a grant can't bind the bytes there, the validation alone finds wrong ones", nil
	}
	if _, known := b.Bound(); !known {
		if err := b.Probe(ctx); err != nil {
			return "", fmt.Errorf("can't try a presigned upload: %w", err)
		}
	}
	if bound, _ := b.Bound(); !bound {
		return "good, but it takes other bytes than declared: grants are unbound, the validation alone finds wrong ones", nil
	}
	return "good", nil
}
