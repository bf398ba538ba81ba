package client

import (
	"errors"
	"sync"
	"time"
)

// ErrStopped is the Err of a file whose upload was under way, or not begun, when
// the run ended early. The next run goes on with it.
var ErrStopped = errors.New("stopped before it was finished")

// ErrUnjudged is the Err of a file that was sent, but had no verdict when waiting
// for verdicts was given up.
var ErrUnjudged = errors.New("sent, but there is no verdict yet")

// FileReport is what became of one file.
type FileReport struct {
	File
	SizeBytes int64
	SHA1      string // lower-case hex; "" when the file was not read
	Image     *Image // as last seen; nil when the server does not have it
	State     string // the image's state; "" when the server does not have it
	Reasons   []string
	Existed   bool   // the bytes were there already; nothing was sent
	SameAs    string // the name of another file of this run with the same bytes, which was sent for both
	BytesSent int64  // 0 when nothing had to be sent
	Err       error  // why there is no verdict; nil when there is one
}

// Ready reports whether the file is in the project, proven sound.
func (f FileReport) Ready() bool { return f.Err == nil && f.State == StateReady }

// Report is what became of the files of one Upload, in their order.
type Report struct {
	Files       []FileReport
	BytesSent   int64         // of files that arrived
	SendingTime time.Duration // from the first byte to the last
	Elapsed     time.Duration
}

// Ready counts the files that are Ready.
func (r Report) Ready() int {
	n := 0
	for _, f := range r.Files {
		if f.Ready() {
			n++
		}
	}
	return n
}

// Existed counts the files whose bytes were there already.
func (r Report) Existed() int {
	n := 0
	for _, f := range r.Files {
		if f.Existed {
			n++
		}
	}
	return n
}

// Status is how far an upload is. Its numbers only mean something together.
type Status struct {
	Files, Hashed, Spared, Sending, Sent int
	Bytes                                int64 // of all files
	HashedBytes                          int64
	SparedBytes                          int64 // need not be sent: already there, the same as another file, or failed
	SentBytes                            int64 // of files sent and under way
	Ready, Invalid, Failed               int   // judged, and without hope of a verdict
	Trouble                              string
}

// Settled counts the files of which nothing more is to be expected.
func (s Status) Settled() int { return s.Ready + s.Invalid + s.Failed }

// Progress lets another goroutine watch an upload: give it in UploadOptions and
// ask for Status as often as you like.
type Progress struct {
	mu sync.Mutex
	s  Status
}

// Status is the state of things now.
func (p *Progress) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.s
}

func (p *Progress) change(f func(*Status)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.s)
}
