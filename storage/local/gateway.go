package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/versity/versitygw/backend/posix"

	"github.com/uploadbroker/uploadbroker/storage/s3"
)

// BucketName is the S3 bucket of the local bucket, and thereby the path at which
// the API mounts its Handler.
const BucketName = "local-bucket"

// internalHost is the host that every URL is signed for. It resolves nowhere:
// requests for it go to the socket.
const internalHost = "uploadbroker.internal"

// copyThreshold is S3's own limit for CopyObject. (Zero would refuse all.)
const copyThreshold = 5 << 30

// Options say where the objects are.
type Options struct {
	Dir     string // the folder of the objects; made when absent
	KeyFile string // the gateway's credentials; made when absent, mode 0600

	// hasXattr is a test's seam. nil: try the file system.
	hasXattr func(dir string) bool
	// now is a test's seam, for expired URLs. nil: time.Now.
	now func() time.Time
	// statfs is a test's seam. nil: the system's.
	statfs func(dir string) (space, error)
}

// Gateway is an S3 server in this process over a folder.
type Gateway struct {
	dir       string // absolute, without symbolic links
	metadata  string // inXattr or inSidecar
	disk      disk
	key       keyPair
	now       func() time.Time
	socket    *socketDir
	run       *running
	transport *http.Transport
	calls     sync.WaitGroup // of OnPut

	closeOnce sync.Once
	closeErr  error
}

// Open starts the gateway. Close stops it; a second one in the same process
// fails until then. ctx bounds the start only.
func Open(ctx context.Context, o Options) (_ *Gateway, err error) {
	if o.Dir == "" || o.KeyFile == "" {
		return nil, errors.New("local: a folder and a key file must be named")
	}
	if o.hasXattr == nil {
		o.hasXattr = fileSystemHasXattr
	}
	if o.now == nil {
		o.now = time.Now
	}
	g := &Gateway{now: o.now}
	if g.dir, err = objectsDir(o.Dir); err != nil {
		return nil, err
	}
	g.disk = disk{dir: g.dir, statfs: o.statfs}
	keyFile, err := filepath.Abs(o.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("local: %w", err)
	}
	if g.key, err = loadKey(keyFile); err != nil {
		return nil, err
	}
	store, kind, err := openMetadata(g.dir, o.hasXattr)
	if err != nil {
		return nil, err
	}
	g.metadata = kind
	var po posix.PosixOpts
	po.CopyObjectThreshold = copyThreshold
	po.SetNewDirPerm(0o700)
	po.SetNewFilePerm(0o600)
	backend, err := newPosix(g.dir, store, po)
	if err != nil {
		return nil, fmt.Errorf("local: open %s: %w", g.dir, err)
	}
	if g.socket, err = newSocketDir(); err != nil {
		backend.Shutdown()
		return nil, err
	}
	g.run, err = run(ctx, &absBackend{posix: backend, meta: store, root: g.dir, disk: &g.disk}, g.key, g.socket.path())
	if err != nil {
		return nil, errors.Join(err, g.socket.close())
	}
	socket := g.socket.path()
	g.transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		MaxIdleConns:        256,
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     time.Minute,
		DisableCompression:  true, // bytes as they are
		WriteBufferSize:     64 << 10,
		ReadBufferSize:      64 << 10,
	}
	return g, nil
}

// objectsDir makes the folder and gives its one true name, which the gateway's
// lock files are named for: two processes must agree on it.
func objectsDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("local: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("local: make the objects' folder: %w", err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", fmt.Errorf("local: %w", err)
	}
	return dir, nil
}

// Close stops the gateway, waits for requests under way (10 seconds at most),
// and removes the socket. What is stored stays.
func (g *Gateway) Close() error {
	g.closeOnce.Do(func() {
		g.run.stop()
		// The gateway waits for every open connection. Ours become idle as their
		// requests end, and some only after the stop: close them as they do.
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for ended := false; !ended; {
			g.transport.CloseIdleConnections()
			select {
			case <-g.run.done:
				ended = true
			case <-tick.C:
			}
		}
		g.calls.Wait()
		g.closeErr = errors.Join(g.run.err, g.socket.close())
	})
	return g.closeErr
}

// Done is closed when the gateway has ended, be it by Close or by a fault.
func (g *Gateway) Done() <-chan struct{} { return g.run.done }

// Bucket opens a driver for an S3 bucket of the gateway and makes the bucket
// when it is absent. Names are S3's: 3 to 63 of a-z, 0-9, "-" and ".".
func (g *Gateway) Bucket(ctx context.Context, name string) (*Bucket, error) {
	b, err := s3.Open(ctx, s3.Options{
		Bucket:          name,
		Region:          region,
		Endpoint:        "http://" + internalHost,
		PathStyle:       true,
		AccessKeyID:     g.key.ID,
		AccessKeySecret: g.key.Secret,
		HTTPClient:      &http.Client{Transport: g.transport},
		PartSizeBytes:   partSize,
		Now:             g.now,
	})
	if err != nil {
		return nil, err
	}
	if err := b.CreateIfAbsent(ctx); err != nil {
		return nil, fmt.Errorf("local: make bucket %s: %w", name, err)
	}
	root, err := os.OpenRoot(filepath.Join(g.dir, name))
	if err != nil {
		return nil, fmt.Errorf("local: open bucket %s: %w", name, err)
	}
	// The gateway makes its folder for temporary files with the first PUT, and
	// until then can't use unnamed ones, which a kill leaves no trace of.
	if err := root.Mkdir(posix.MetaTmpDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("local: %w", err)
	}
	if err := errors.Join(syncDir(filepath.Join(g.dir, name)), syncDir(g.dir)); err != nil {
		return nil, fmt.Errorf("local: sync bucket %s: %w", name, err)
	}
	return &Bucket{Bucket: b, gateway: g, name: name, root: root}, nil
}
