package local

import (
	"fmt"
	"runtime"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"golang.org/x/sys/unix"
)

// newPosix calls posix.New, which changes the working directory, on a thread
// that shares it with no other: unshare(CLONE_FS) needs no privilege. The thread
// ends with its goroutine, which stays locked to it.
func newPosix(dir string, m meta.MetadataStorer, opts posix.PosixOpts) (p *posix.Posix, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err = unix.Unshare(unix.CLONE_FS); err != nil {
			err = fmt.Errorf("local: a working directory of its own for a thread: %w", err)
			// A sandbox that forbids unshare still gets its bucket.
			p, err = newPosixHere(dir, m, opts)
			return
		}
		p, err = posix.New(dir, m, opts)
	}()
	<-done
	return p, err
}
