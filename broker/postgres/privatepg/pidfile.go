package privatepg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// pidFile is what a running server says of itself in postmaster.pid
// (Postgres source, src/include/utils/pidfile.h).
type pidFile struct {
	pid       int
	dataDir   string
	port      string
	socketDir string
	memory    string // key and id of the shared memory
	status    string // starting, ready, stopping
}

func readPidFile(pg string) (pidFile, error) {
	raw, err := os.ReadFile(filepath.Join(pg, "postmaster.pid"))
	if err != nil {
		return pidFile{}, err
	}
	lines := strings.Split(string(raw), "\n")
	line := func(n int) string {
		if n > len(lines) {
			return "" // the server writes the file bit by bit as it starts
		}
		return strings.TrimSpace(lines[n-1])
	}
	pid, err := strconv.Atoi(line(1))
	if err != nil {
		return pidFile{}, fmt.Errorf("%s/postmaster.pid holds no pid", pg)
	}
	if pid < 0 {
		pid = -pid // a single-user server
	}
	return pidFile{pid: pid, dataDir: line(2), port: line(4), socketDir: line(5), memory: line(7), status: line(8)}, nil
}

// alive tells whether the process exists; one that we may not signal does.
func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

// settle makes sure that no server of an earlier life is at work on pg. The
// caller holds the lock, so one that is there has lost its program: it is
// already dying (Linux) or waits to be stopped (elsewhere).
func settle(ctx context.Context, pg string, log *slog.Logger) error {
	p, err := readPidFile(pg)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("look for a server left behind: %w", err)
	}
	if err != nil {
		return nil // half-written: Postgres judges it better than we do
	}
	if alive(p.pid) {
		ours, known := isPostmaster(p.pid, pg)
		switch {
		case ours:
			log.Info("stopping the private Postgres that an earlier run left behind", "pid", p.pid)
			if err := end(ctx, p.pid, pg); err != nil {
				return err
			}
		case known:
			if err := disown(pg); err != nil {
				return err
			}
		}
	}
	err = waitUntil(ctx, 15*time.Second, func() bool { return !inUse(p.memory) },
		"processes of a killed Postgres are still at work in "+pg)
	if ctx.Err() != nil {
		return err
	}
	return nil // if they still are, Postgres says so itself
}

// end stops a server, in order if it can, at once if it must.
func end(ctx context.Context, pid int, pg string) error {
	gone := func() bool {
		ours, _ := isPostmaster(pid, pg)
		return !ours
	}
	what := fmt.Sprintf("an earlier private Postgres (pid %d) does not end", pid)
	_ = syscall.Kill(pid, syscall.SIGINT)
	if err := waitUntil(ctx, time.Minute, gone, what); err == nil || ctx.Err() != nil {
		return err
	}
	_ = syscall.Kill(pid, syscall.SIGQUIT)
	return waitUntil(ctx, 20*time.Second, gone, what)
}

// disown deals with a pid file whose number now belongs to some other process,
// beside which Postgres would refuse to start. The file must not go: it also
// names the shared memory by which Postgres finds processes of the dead server.
// Our own number is one that it ignores, being that of its parent.
func disown(pg string) error {
	path := filepath.Join(pg, "postmaster.pid")
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(string(raw), "\n")
	f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("mark the dead server's pid file: %w", err)
	}
	// Over the old text, and cut to length only then: on a full disk a file that
	// was emptied first might stay so, and no server starts beside an empty one.
	text := strconv.Itoa(os.Getpid()) + "\n" + rest
	if _, err = f.WriteAt([]byte(text), 0); err == nil {
		err = f.Truncate(int64(len(text)))
	}
	return errors.Join(err, f.Close())
}

func waitUntil(ctx context.Context, limit time.Duration, done func() bool, what string) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, context.Cause(ctx))
		case <-deadline.C:
			return errors.New(what)
		case <-tick.C:
		}
	}
	return nil
}
