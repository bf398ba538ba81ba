// Package privatepg runs a Postgres server that belongs to this program alone,
// from the binaries that the machine already has, so that uploadbroker works
// with no database configured.
//
// What it leaves on the machine: the database in <data folder>/pg, a lock file
// <data folder>/lock, and while it runs a folder for the socket
// ($XDG_RUNTIME_DIR or /tmp)/uploadbroker-<hash of the data folder>. Nothing
// listens on the network. Nothing is ever wiped, except what an interrupted
// first start left behind in pg.new*, which never held data.
//
// A full disk is named as such, with what to do, by Start's error and, when it ends
// a running server, in the log; a database is not begun where it could not be
// finished. On disks under 5 GiB the write-ahead log is kept small.
//
// Permissions: an ordinary user needs nothing but the right to write the data
// folder. Postgres refuses to run as root, so root runs it as the user
// "postgres", else "nobody". Where that user can't reach the data folder
// (/root is 0700), the database goes to /var/lib/uploadbroker/pg, and the file
// <data folder>/pg-location says where.
//
// Whoever may open the socket is the database's superuser: the guard is the
// socket's folder, which only the server's user (and root) can enter.
//
// The server ends with this process, also when it is killed: at once on Linux
// (see diesWithParent), elsewhere at the next Start.
package privatepg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Options say where the database lives and what runs it.
type Options struct {
	// DataDir is the program's data folder; it is made when missing, open for
	// passing through (0711) when this process is root, else 0700. Required.
	DataDir string
	// Binaries is the folder that holds postgres and initdb.
	// Empty: they are looked for (see the error when none are found).
	Binaries string
	// Lock is the caller's own lock on DataDir. Nil: Start takes the lock and
	// Stop gives it back.
	Lock *FolderLock
	// Fallback is where the database goes when root's server user can't reach
	// DataDir. Empty: /var/lib/uploadbroker/pg.
	Fallback string
	// Settings are added to, or replace, the server's own (postgresql.conf
	// names). For tests; the defaults lose nothing on a power cut.
	Settings map[string]string
	// Log gets the server's messages. Nil: they are dropped.
	Log *slog.Logger
}

// Server is a running private Postgres.
type Server struct {
	dsn       string
	pg        string
	socketDir string
	log       *slog.Logger
	process   *os.Process
	output    *output
	done      chan struct{}
	ready     atomic.Bool // Start has succeeded
	release   []func()

	stopOnce sync.Once
	stopErr  error

	mu       sync.Mutex
	stopping bool
	exit     error // set before done is closed
}

// Start runs the private Postgres of a data folder, making its database at the
// first start, and returns when it answers. A crash recovery may take long: ctx
// bounds the wait, and only the wait, the server outlives it. A server that a
// killed process left behind is stopped first. An error leaves no server behind.
func Start(ctx context.Context, opts Options) (_ *Server, err error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{log: opts.Log, done: make(chan struct{})}
	defer func() {
		if err != nil {
			s.giveBack()
		}
		if isFull(err) && !told(err) {
			err = fullDisk(err, opts.DataDir)
		}
	}()

	data, err := makeDataFolder(opts.DataDir)
	if err != nil {
		return nil, err
	}
	if opts.Lock == nil {
		lock, err := Lock(data)
		if err != nil {
			return nil, err
		}
		s.release = append(s.release, lock.Release)
	}
	home, err := prepare(ctx, opts, data)
	if err != nil {
		return nil, err
	}
	if home.away {
		// A copy of the data folder has a copy of the note in it: two data
		// folders, two locks, and one database.
		lock, err := lockFile(home.pg+".lock", home.pg)
		if err != nil {
			return nil, err
		}
		s.release = append(s.release, lock.Release)
	}
	if err := settle(ctx, home.pg, opts.Log); err != nil {
		return nil, err
	}
	if err := home.initialise(ctx, opts); err != nil {
		return nil, err
	}
	s.socketDir, err = makeSocketDir(data, home.account)
	if err != nil {
		return nil, err
	}
	if err := s.launch(home, opts.Settings); err != nil {
		return nil, err
	}
	if err := s.waitReady(ctx, home.pg); err != nil {
		return nil, errors.Join(s.Explain(err), s.Stop(ctx))
	}
	s.dsn = dsn(s.socketDir, databaseName)
	if err := createDatabase(ctx, s.socketDir); err != nil {
		return nil, errors.Join(s.Explain(err), s.Stop(ctx))
	}
	s.ready.Store(true)
	return s, nil
}

// launch starts the postmaster and the goroutine that waits for its end.
func (s *Server) launch(h home, extra map[string]string) error {
	s.pg, s.output = h.pg, &output{log: s.log}
	cmd := exec.Command(h.install.postgres(), h.arguments(s.socketDir, extra)...)
	cmd.Dir = "/"
	cmd.Env = environment()
	cmd.Stdout, cmd.Stderr = s.output, s.output
	cmd.SysProcAttr = h.account.attributes()
	// Fast shutdown. It ends every session at once and still leaves clean
	// files, so that the next start needs no recovery.
	diesWithParent(cmd.SysProcAttr, syscall.SIGINT)
	// The server's children hold the pipe too; they must not hold up Wait.
	cmd.WaitDelay = 5 * time.Second

	started := make(chan error, 1)
	go func() {
		// The kernel sends the death signal when the *thread* that started
		// the child ends: this one has to live as long as the server.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		err = cmd.Wait()
		s.mu.Lock()
		if !s.stopping {
			s.exit = s.ended(err)
		}
		s.mu.Unlock()
		close(s.done)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s as user %s: %w", h.install.postgres(), h.account.name, err)
	}
	s.process = cmd.Process
	return nil
}

// ended says why a server ended that nobody stopped. What went wrong while it
// started, Start tells; later only the log can.
func (s *Server) ended(exit error) error {
	err := fmt.Errorf("the private Postgres ended by itself (%v)%s", exitText(exit), s.output.tail())
	if !s.output.endedFull() {
		return err
	}
	if s.ready.Load() {
		s.log.Error(fullDisk(errors.New("the private Postgres could not write and gave up"), s.pg, s.socketDir).Error())
	}
	return fullDisk(err, s.pg, s.socketDir)
}

// waitReady returns when the server says in its pid file that it takes
// connections. Reading the file costs less than trying, and fills no log.
func (s *Server) waitReady(ctx context.Context, pg string) error {
	begun, told := time.Now(), false
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if p, err := readPidFile(pg); err == nil && p.pid == s.process.Pid && p.status == "ready" {
			return nil
		}
		select {
		case <-s.done:
			return s.Err()
		case <-ctx.Done():
			return fmt.Errorf("wait for the private Postgres to answer: %w%s", context.Cause(ctx), s.output.tail())
		case <-tick.C:
		}
		if !told && time.Since(begun) > 5*time.Second {
			told = true
			s.log.Info("the private Postgres is recovering from an unclean end; this may take a while")
		}
	}
}

// DSN is what pgx connects with: the Unix socket, database "uploadbroker".
func (s *Server) DSN() string { return s.dsn }

// Explain names a full disk as the cause of an error that came from the use of the
// server, where it is, and says what to do; other errors stay as they are. Not all
// that Postgres says of a full disk has a code of its own, so what fails while there
// is next to nothing left counts too.
func (s *Server) Explain(err error) error {
	if err == nil || told(err) {
		return err
	}
	if free, _, spaceErr := space(s.pg); isFullState(err) || spaceErr == nil && free < nearlyFullBytes {
		return fullDisk(err, s.pg)
	}
	return err
}

// Done is closed when the server has ended, for whatever reason.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err says why the server ended by itself: nil while it runs and after Stop.
func (s *Server) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exit
}

// Stop shuts the server down in order, ending all sessions, waits for it and
// gives the lock back. When ctx ends first, the server is made to end at once,
// which loses nothing and costs the next start a recovery. Calling it again
// repeats the first answer.
func (s *Server) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() {
		s.stopErr = s.shutDown(ctx)
		s.giveBack()
	})
	return s.stopErr
}

func (s *Server) shutDown(ctx context.Context) error {
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	_ = s.process.Signal(syscall.SIGINT) // an error means that it is gone
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	_ = s.process.Signal(syscall.SIGQUIT)
	select {
	case <-s.done:
		return nil
	case <-time.After(20 * time.Second): // Postgres kills its own stragglers after 5 s
		return fmt.Errorf("the private Postgres (pid %d) does not end", s.process.Pid)
	}
}

// giveBack undoes what Start took, last taken first.
func (s *Server) giveBack() {
	if s.socketDir != "" {
		_ = os.Remove(s.socketDir) // only when empty, as a clean end leaves it
		s.socketDir = ""           // from here on it may be another process's
	}
	for i := len(s.release) - 1; i >= 0; i-- {
		s.release[i]()
	}
	s.release = nil
}

func exitText(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}
