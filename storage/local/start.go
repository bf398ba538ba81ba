package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

// Region is what requests to the gateway are signed for.
const region = "us-east-1"

// startTimeout bounds the wait for the gateway's socket.
const startTimeout = 10 * time.Second

// Bounds of the gateway. Its connections come from this process only: the
// driver's and, one for each client's transfer, the handler's.
const (
	maxConnections    = 4096
	maxRequests       = 2048
	multipartMaxParts = 10_000 // S3's own
)

// newPosixHere lets posix.New change the working directory and changes it back.
// For an instant other goroutines see the wrong one; on Linux newPosix avoids it.
func newPosixHere(dir string, m meta.MetadataStorer, opts posix.PosixOpts) (*posix.Posix, error) {
	before, err := os.Getwd()
	if err != nil {
		before = "" // it was removed: nowhere to go back to
	}
	p, err := posix.New(dir, m, opts)
	if before != "" {
		err = errors.Join(err, os.Chdir(before))
	}
	return p, err
}

// running is a gateway under way.
type running struct {
	stop context.CancelFunc
	done chan struct{}
	err  error // after done
}

// run starts the gateway and waits until its socket answers.
func run(ctx context.Context, be *absBackend, key keyPair, socket string) (*running, error) {
	// The gateway outlives the context of its start.
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{stop: stop, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = embedgw.RunVersityGW(life, be, &embedgw.Config{
			RootUserAccess: key.ID,
			RootUserSecret: key.Secret,
			Region:         region,
			// Given, since the gateway prints to stdout when it makes its own.
			IAMService: auth.NewIAMServiceSingle(auth.Account{
				Access: key.ID, Secret: key.Secret, Role: auth.RoleAdmin,
			}),
			Ports:             []string{socket},
			SocketPerm:        "0600",
			MaxConnections:    maxConnections,
			MaxRequests:       maxRequests,
			MultipartMaxParts: multipartMaxParts,
			KeepAlive:         true,
			Quiet:             true,
			DisableACLs:       true,
		})
	}()
	deadline := time.After(startTimeout)
	for {
		conn, err := net.DialTimeout("unix", socket, time.Second)
		if err == nil {
			conn.Close()
			return r, nil
		}
		select {
		case <-r.done:
			stop()
			if r.err == nil {
				r.err = errors.New("it ended at once")
			}
			return nil, fmt.Errorf("local: start the gateway: %w", r.err)
		case <-ctx.Done():
			stop()
			<-r.done
			return nil, ctx.Err()
		case <-deadline:
			stop()
			<-r.done
			return nil, fmt.Errorf("local: the gateway's socket does not answer: %w", err)
		case <-time.After(2 * time.Millisecond):
		}
	}
}
