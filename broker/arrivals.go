package broker

import (
	"context"
	"crypto/subtle"
	"strings"
	"time"
)

// Arrived is an object of which somebody says that it was written.
type Arrived struct {
	Key  string // in the bucket, not encoded
	ETag string // "": not told
}

// ArrivalStore keeps what was said of arrivals.
type ArrivalStore interface {
	// EventSecret returns the secret of a bucket's events, and makes it when there
	// is none.
	EventSecret(ctx context.Context, bucket string, now time.Time) (string, error)
	// Hint makes the places due at once where these objects are the ones of
	// images, unless the images hold them already, and returns how many images
	// that are. What is no image's is left out. A place is looked at once a second
	// at most, however many hints come.
	Hint(ctx context.Context, bucket string, arrived []Arrived) (int, error)
}

// Arrivals takes what buckets and clients say of arrivals. Everything said is a
// hint: it makes the broker look earlier, and decides nothing.
type Arrivals struct {
	Store  ArrivalStore
	Places *Places
	Now    func() time.Time
}

// Secret returns what a sender of a bucket's events has to show.
// CodeUnknownBucket when there is no such bucket.
func (a *Arrivals) Secret(ctx context.Context, bucket string) (string, error) {
	b, ok := a.Places.now.Load().find(bucket)
	if !ok {
		return "", Errorf(CodeUnknownBucket, "there is no bucket %.100q", bucket)
	}
	if b.Events.Secret != "" {
		return b.Events.Secret, nil
	}
	return a.Store.EventSecret(ctx, bucket, a.Now())
}

// Topic returns the only SNS topic whose subscription for a bucket is confirmed, ""
// for none.
func (a *Arrivals) Topic(bucket string) string {
	b, _ := a.Places.now.Load().find(bucket)
	return b.Events.Topic
}

// Authorize refuses who does not know the bucket's secret. The answer is the same
// for a bucket that there is not: CodeUnauthenticated.
func (a *Arrivals) Authorize(ctx context.Context, bucket, shown string) error {
	refused := Errorf(CodeUnauthenticated, "no bucket has this name and this secret; `uploadbroker buckets events` tells the URLs")
	if len(shown) < MinSecretLen || len(bucket) > 64 {
		return refused
	}
	secret, err := a.Secret(ctx, bucket)
	switch {
	case CodeOf(err) == CodeUnknownBucket:
		return refused
	case err != nil:
		return err
	case subtle.ConstantTimeCompare([]byte(secret), []byte(shown)) != 1:
		return refused
	}
	return nil
}

// NewEventSecret makes a secret for a bucket's events: 160 random bits.
func NewEventSecret() string { return randomText() }

// Hint passes on what a bucket says. Keys that can't be an image's cost nothing.
func (a *Arrivals) Hint(ctx context.Context, bucket string, arrived []Arrived) (int, error) {
	ours := make([]Arrived, 0, len(arrived))
	for _, o := range arrived {
		projectID, filename, ok := strings.Cut(o.Key, "/")
		if ok && IsID(projectID) && isFilename(filename) {
			ours = append(ours, o)
		}
	}
	if len(ours) == 0 {
		return 0, nil
	}
	return a.Store.Hint(ctx, bucket, ours)
}

// isFilename reports whether an attempt's file could be called so.
func isFilename(s string) bool {
	return s != "" && len(s) <= 100 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
	})
}
