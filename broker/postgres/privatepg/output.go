package privatepg

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
)

const tailLines = 12

// output takes what a Postgres program prints: each line goes to the log, and
// the last ones are kept for an error's text.
type output struct {
	log *slog.Logger

	mu   sync.Mutex
	rest []byte // a line that has no end yet
	last []string
	full bool // see endedFull
	said bool // see saidFull
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rest = append(o.rest, p...)
	for {
		i := bytes.IndexByte(o.rest, '\n')
		if i < 0 {
			break
		}
		o.line(strings.TrimSpace(string(o.rest[:i])))
		o.rest = o.rest[i+1:]
	}
	return len(p), nil
}

func (o *output) line(s string) {
	if s == "" {
		return
	}
	o.last = append(o.last, s)
	if len(o.last) > tailLines {
		o.last = o.last[1:]
	}
	severity, _, _ := strings.Cut(s, ":")
	switch {
	case saysFull(s):
		o.said = true
		o.full = o.full || severity == "FATAL" || severity == "PANIC"
	case strings.HasSuffix(s, "ready to accept connections"):
		o.full = false
	}
	// FATAL ends one session, which is nothing special; PANIC ends them all.
	level := slog.LevelDebug
	switch severity {
	case "WARNING", "ERROR", "FATAL":
		level = slog.LevelWarn
	case "PANIC":
		level = slog.LevelError
	}
	if strings.HasSuffix(s, "due to administrator command") {
		level = slog.LevelDebug // the administrator is our own Stop
	}
	o.log.Log(context.Background(), level, "private Postgres: "+s)
}

// endedFull reports whether the server's end is a full disk's doing: it could not
// go on for want of space, and has not recovered since. A session's own ERROR is
// no reason to end.
func (o *output) endedFull() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.full
}

// saidFull is the same for a program that has no severities: whether any of its
// words, however long ago, tell of a full disk.
func (o *output) saidFull() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.said || saysFull(string(o.rest))
}

// tail is the end of what was printed, as the end of an error's text.
func (o *output) tail() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	lines := o.last
	if rest := strings.TrimSpace(string(o.rest)); rest != "" {
		lines = append(lines[:len(lines):len(lines)], rest)
	}
	if len(lines) == 0 {
		return "; it said nothing"
	}
	return "; its last words:\n\t" + strings.Join(lines, "\n\t")
}
