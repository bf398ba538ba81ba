package storage

import (
	"context"
	"time"
)

// CheckPrefix is where `buckets check` writes its small object. No project's id
// looks like it.
const CheckPrefix = "uploadbroker-check/"

// OwnPrefixes are where the program itself writes for a moment, whatever the
// projects. What is found there later was left by a process that was killed.
func OwnPrefixes() []string { return []string{CheckPrefix, probePrefix} }

// Multiparts lists the unfinished uploads in parts whose keys begin with prefix.
// CodeNotSupported where the bucket can't.
func (b *Bucket) Multiparts(ctx context.Context, prefix string) (ups []Multipart, err error) {
	err = b.do(ctx, "list_multiparts", prefix, func() error {
		if b.aborter == nil {
			return b.notSupported()
		}
		if err := checkPrefix(prefix); err != nil {
			return err
		}
		ups, err = b.aborter.ListMultiparts(ctx, prefix)
		return err
	})
	return ups, err
}

// AbortMultipart ends an unfinished upload and frees its parts; none there is no
// error. CodeNotSupported where the bucket can't.
func (b *Bucket) AbortMultipart(ctx context.Context, key, uploadID string) error {
	return b.do(ctx, "abort_multipart", key, func() error {
		if b.aborter == nil {
			return b.notSupported()
		}
		if err := CheckKey(key); err != nil {
			return err
		}
		return b.aborter.AbortMultipart(ctx, key, uploadID)
	})
}

// Clean removes what lies around below prefix, is no object and older than
// before, and returns how many files that were. Where the bucket leaves nothing
// there is nothing to do, and no error.
func (b *Bucket) Clean(ctx context.Context, prefix string, before time.Time) (n int, err error) {
	if b.cleaner == nil {
		return 0, nil
	}
	err = b.do(ctx, "clean", prefix, func() error {
		if err := checkPrefix(prefix); err != nil {
			return err
		}
		n, err = b.cleaner.Clean(ctx, prefix, before)
		return err
	})
	return n, err
}

// SweepMultiparts aborts all unfinished uploads in parts below prefix that began
// before the given time, cleans up there, and returns how many uploads and files
// went. It asks nobody whose they are. CodeNotSupported where the bucket can't; it
// should then have a lifecycle rule.
func (b *Bucket) SweepMultiparts(ctx context.Context, prefix string, before time.Time) (n int, err error) {
	err = b.do(ctx, "sweep", prefix, func() error {
		if b.aborter == nil {
			return b.notSupported()
		}
		if err := checkPrefix(prefix); err != nil {
			return err
		}
		ups, err := b.aborter.ListMultiparts(ctx, prefix)
		if err != nil {
			return err
		}
		for _, up := range ups {
			if !up.Began.Before(before) {
				continue
			}
			if err := b.aborter.AbortMultipart(ctx, up.Key, up.UploadID); err != nil {
				return err
			}
			n++
		}
		if b.cleaner == nil {
			return nil
		}
		files, err := b.cleaner.Clean(ctx, prefix, before)
		n += files
		return err
	})
	return n, err
}
