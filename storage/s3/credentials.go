package s3

import (
	"context"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// When credentials that end are replaced. A grant ends with the credentials that
// sign it, so their last minutes give grants that nobody can finish an upload by.
const (
	renewBefore  = 15 * time.Minute // of their life left
	renewPause   = 30 * time.Second // between two tries
	renewTimeout = 5 * time.Second  // of one try, which a caller waits for
)

// renewing gives the credentials of the SDK's chain, and looks for later ones
// while the current ones still live. The chain itself looks when they have ended;
// an instance's metadata service has new ones five minutes before, or earlier
// (Amazon EC2 User Guide, "Retrieve security credentials from instance metadata").
type renewing struct {
	now  func() time.Time
	load func(ctx context.Context) (aws.Config, error) // makes a new chain, which remembers nothing

	mu      sync.Mutex
	current aws.CredentialsProvider
	nextTry time.Time
}

// Retrieve never fails because of a renewal: the current credentials, which the
// chain may stretch when their source is down, are then used on.
func (r *renewing) Retrieve(ctx context.Context) (aws.Credentials, error) {
	r.mu.Lock()
	current := r.current
	r.mu.Unlock()
	creds, err := current.Retrieve(ctx)
	if err != nil || !creds.CanExpire || creds.Expires.Sub(r.now()) >= renewBefore || !r.mayTry() {
		return creds, err
	}
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	cfg, err := r.load(ctx)
	if err != nil || cfg.Credentials == nil {
		return creds, nil
	}
	fresh, err := cfg.Credentials.Retrieve(ctx)
	if err != nil || fresh.CanExpire && !fresh.Expires.After(creds.Expires) {
		return creds, nil
	}
	r.mu.Lock()
	r.current = cfg.Credentials
	r.mu.Unlock()
	return fresh, nil
}

// mayTry lets one caller at a time look, and none too soon again.
func (r *renewing) mayTry() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if now.Before(r.nextTry) {
		return false
	}
	r.nextTry = now.Add(renewPause)
	return true
}
