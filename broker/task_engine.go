package broker

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
	"unicode/utf8"
)

// The calls below are made by engines, who show a task's token instead of a key.

// NewTaskToken makes what a task's engine shows: 256 random bits in base64url.
func NewTaskToken() string {
	var b [32]byte
	rand.Read(b[:]) // never fails (Go 1.24 and later)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// NewRunID makes a task's name at its engine: a random UUID, version 4 (RFC 9562).
// NodeODM takes no other form.
func NewRunID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails (Go 1.24 and later)
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// byToken returns the task of a token.
func (t *Tasks) byToken(ctx context.Context, id, token string) (Task, error) {
	refused := Errorf(CodeUnauthenticated, "this is not the token of that task")
	if !IsID(id) || token == "" {
		return Task{}, refused
	}
	known, err := t.Store.TaskToken(ctx, id)
	switch {
	case CodeOf(err) == CodeNotFound:
		return Task{}, refused
	case err != nil:
		return Task{}, err
	case subtle.ConstantTimeCompare([]byte(known), []byte(token)) != 1:
		return Task{}, refused
	}
	return t.Store.Task(ctx, id)
}

// reporting is byToken for an engine that reports by itself: others are asked.
func (t *Tasks) reporting(ctx context.Context, id, token string) (Task, error) {
	task, err := t.byToken(ctx, id, token)
	if err == nil && task.Engine != EngineWebhook {
		err = Errorf(CodeNotAllowed, "the engine %s does not report; it is asked", task.Engine)
	}
	return task, err
}

// Progress notes how far a run is. What is less than was told before changes
// nothing. CodeConflict when the task has ended: the engine may give it up.
func (t *Tasks) Progress(ctx context.Context, id, token string, percent float64) (Task, error) {
	task, err := t.reporting(ctx, id, token)
	switch {
	case err != nil:
		return Task{}, err
	case !(percent >= 0 && percent <= 100): // also NaN
		return Task{}, Errorf(CodeInvalid, "progress is %v; give a number from 0 to 100", percent)
	case task.State.Ended():
		return Task{}, Errorf(CodeConflict, "the task is %s", task.State)
	}
	if err := t.Store.TaskProgress(ctx, id, percent); err != nil {
		return Task{}, err
	}
	return t.Store.Task(ctx, id)
}

// Bounds of a report.
const (
	maxResults    = 100
	maxResultName = 100
	maxTaskCause  = 2000 // bytes
)

// Finish ends a run: the task has failed, or its results are copied and then it is
// Done. To say so again changes nothing and is no error. CodeConflict when the task
// was stopped.
func (t *Tasks) Finish(ctx context.Context, id, token string, r Report) (Task, error) {
	task, err := t.reporting(ctx, id, token)
	if err != nil {
		return Task{}, err
	}
	if err := r.check(); err != nil {
		return Task{}, err
	}
	if _, err = t.Store.ReportTask(ctx, id, r, t.Now()); err != nil {
		return Task{}, err
	}
	if task, err = t.Store.Task(ctx, id); err == nil && task.State == TaskStopped {
		return Task{}, Errorf(CodeConflict, "the task was stopped")
	}
	return task, err
}

// Hook says that something happened to a run, whatever it is: the engine is asked.
func (t *Tasks) Hook(ctx context.Context, id, token string) error {
	if _, err := t.byToken(ctx, id, token); err != nil {
		return err
	}
	return t.Store.HintTask(ctx, id)
}

// check refuses what can't be copied, and cuts what can't be shown.
func (r *Report) check() error {
	r.Message = CleanCause(r.Message)
	if r.Failed {
		r.Results = nil
		return nil
	}
	if len(r.Results) > maxResults {
		return Errorf(CodeInvalid, "%d results are reported; %d are the most, put several into one archive", len(r.Results), maxResults)
	}
	seen := map[string]bool{}
	for _, result := range r.Results {
		u, err := url.Parse(result.URL)
		switch {
		case !IsResultName(result.Name):
			return Errorf(CodeInvalid, "%.100q can't be a result's name; take letters, digits, points, underscores and hyphens", result.Name)
		case seen[result.Name]:
			return Errorf(CodeInvalid, "two results are called %s", result.Name)
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
			return Errorf(CodeInvalid, "the url of %s is none that can be fetched: it begins with https:// or http://", result.Name)
		}
		seen[result.Name] = true
	}
	return nil
}

// IsResultName reports whether a result may be called so.
func IsResultName(name string) bool {
	if name == "" || len(name) > maxResultName || strings.Trim(name, ".") == "" {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if !(c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

// CleanCause makes an engine's words fit to be kept and shown: UTF-8 of bounded
// length without control characters.
func CleanCause(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	s = strings.TrimSpace(s)
	if len(s) > maxTaskCause {
		cut := maxTaskCause
		for !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return s
}
