package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/uploadbroker/uploadbroker/api/client"
)

const (
	frameEvery = 100 * time.Millisecond // on a terminal
	lineEvery  = 5 * time.Second        // elsewhere
	rateSpan   = 8 * time.Second        // over which speed is measured
)

// progress shows how an upload goes until stop is called: bars on a terminal,
// a line now and then elsewhere.
type progress struct {
	screen   *screen
	from     *client.Progress
	planning bool // hashing only
	every    time.Duration

	area   area
	cols   int    // of the terminal, at the last frame
	widths [4]int // of the cells; they only grow, so that the picture stands still
	began  time.Time
	hash   meter
	sent   meter
	last   string
}

// watch starts to show. The function it returns shows the end and waits for it.
func watch(s *screen, from *client.Progress, planning bool) (stop func()) {
	p := &progress{screen: s, from: from, planning: planning, area: area{s: s}, began: time.Now(), every: frameEvery}
	if !s.live {
		p.every = lineEvery
	}
	p.hash.add(p.began, 0)
	p.sent.add(p.began, 0)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(p.every)
		defer t.Stop()
		for {
			select {
			case <-done:
				p.show(true)
				p.area.end()
				return
			case <-t.C:
				p.show(false)
			}
		}
	})
	return sync.OnceFunc(func() { close(done); wg.Wait() })
}

func (p *progress) show(last bool) {
	s := p.from.Status()
	now := time.Now()
	p.hash.add(now, s.HashedBytes)
	p.sent.add(now, s.SentBytes)
	if p.screen.live {
		p.area.draw(p.frame(s))
		return
	}
	if line := p.line(s); !last && line != p.last && s.Files > 0 {
		p.last = line
		fmt.Fprintln(p.screen.w, line)
	}
}

// row is one line of the picture: a bar, how many, and what is worth knowing. The
// notes come in the order of their worth: the last go first when it gets narrow.
type row struct {
	name        string
	part, whole int64
	count       string
	notes       []string
	done        bool
	bad         bool
}

// frame draws the picture for the terminal's present width.
func (p *progress) frame(s client.Status) []string {
	rows := []row{p.hashing(s)}
	if !p.planning {
		rows = append(rows, p.sending(s), p.judging(s))
	}
	cols, _ := p.screen.size()
	cols-- // the last column makes some terminals wrap
	if cols != p.cols {
		p.cols, p.widths = cols, [4]int{}
	}
	for _, r := range rows {
		for i, cell := range r.cells() {
			p.widths[i] = max(p.widths[i], columns(cell))
		}
	}
	// Cells that leave no room for a bar are dropped, the last first.
	used := len("  Hashing")
	shown := 0
	for shown < len(p.widths) && used+2+p.widths[shown]+2+minBar <= cols {
		used += 2 + p.widths[shown]
		shown++
	}
	bar := min(cols-used-2, maxBar)
	lines := make([]string, 0, len(rows)+1)
	for _, r := range rows {
		lines = append(lines, p.draw(r, bar, shown))
	}
	if s.Trouble != "" {
		lines = append(lines, p.screen.paint(yellow, p.screen.plain(cut("  "+clean(s.Trouble)+"; trying again", cols))))
	}
	return lines
}

const minBar, maxBar = 8, 40 // columns

func (p *progress) draw(r row, bar, shown int) string {
	color := cyan
	switch {
	case r.bad:
		color = yellow
	case r.done:
		color = green
	}
	if bar < minBar { // a very narrow terminal: words only
		return cut("  "+r.name+" "+r.count, max(p.cols, 1))
	}
	line := "  " + r.name + "  " + p.screen.bar(r.part, r.whole, bar, color)
	for i, cell := range r.cells() {
		if i == shown {
			break
		}
		w := p.widths[i]
		if i == 0 {
			w = -w // figures stand to the right
		}
		line += "  " + pad(cell, w)
	}
	return strings.TrimRight(line, " ")
}

// cells are the count and the notes.
func (r row) cells() [4]string {
	out := [4]string{r.count}
	copy(out[1:], r.notes)
	return out
}

func (p *progress) hashing(s client.Status) row {
	r := row{name: "Hashing", part: s.HashedBytes, whole: s.Bytes, done: s.Hashed == s.Files,
		count: fmt.Sprintf("%s of %s", count(s.Hashed), count(s.Files))}
	if r.done {
		r.part, r.whole = 1, 1
		r.notes = []string{size(s.Bytes)}
		return r
	}
	r.notes = []string{sizeOf(s.HashedBytes, s.Bytes), p.hash.rate()}
	return r
}

func (p *progress) sending(s client.Status) row {
	todo, bytes := s.Files-s.Spared, s.Bytes-s.SparedBytes
	r := row{name: "Sending", part: s.SentBytes, whole: bytes, done: s.Hashed == s.Files && s.Sent >= todo,
		count: fmt.Sprintf("%s of %s", count(s.Sent), count(todo))}
	if r.done {
		r.part, r.whole = 1, 1
		r.notes = []string{size(bytes)}
		if todo == 0 {
			r.notes = []string{"nothing to send"}
		}
		return r
	}
	r.notes = []string{sizeOf(s.SentBytes, bytes), p.sent.rate(), p.sent.left(bytes - s.SentBytes)}
	return r
}

func (p *progress) judging(s client.Status) row {
	r := row{name: "Judging", part: int64(s.Settled()), whole: int64(s.Files), done: s.Settled() == s.Files,
		bad: s.Invalid+s.Failed > 0, count: fmt.Sprintf("%s of %s", count(s.Settled()), count(s.Files))}
	r.notes = []string{tally(s)}
	return r
}

// tally writes "396 Ready, 2 Invalid".
func tally(s client.Status) string {
	out := count(s.Ready) + " Ready"
	if s.Invalid > 0 {
		out += fmt.Sprintf(", %s Invalid", count(s.Invalid))
	}
	if s.Failed > 0 {
		out += fmt.Sprintf(", %s failed", count(s.Failed))
	}
	return out
}

// line is the same in words.
func (p *progress) line(s client.Status) string {
	var parts []string
	if s.Hashed < s.Files || p.planning {
		parts = append(parts, fmt.Sprintf("hashed %s of %s", count(s.Hashed), count(s.Files)))
	}
	if !p.planning {
		if todo := s.Files - s.Spared; todo > 0 {
			sent := fmt.Sprintf("sent %s of %s, %s", count(s.Sent), count(todo), sizeOf(s.SentBytes, s.Bytes-s.SparedBytes))
			if s.Sent < todo {
				for _, note := range []string{p.sent.rate(), p.sent.left(s.Bytes - s.SparedBytes - s.SentBytes)} {
					if note != "" {
						sent += ", " + note
					}
				}
			}
			parts = append(parts, sent)
		}
		parts = append(parts, tally(s))
	}
	if s.Trouble != "" {
		parts = append(parts, clean(s.Trouble)+", trying again")
	}
	return strings.Join(parts, "; ")
}

// meter measures a speed over the last seconds.
type meter struct {
	samples []sample
}

type sample struct {
	at    time.Time
	bytes int64
}

func (m *meter) add(at time.Time, bytes int64) {
	m.samples = append(m.samples, sample{at, bytes})
	for len(m.samples) > 2 && at.Sub(m.samples[1].at) > rateSpan {
		m.samples = m.samples[1:]
	}
}

// perSecond is 0 when it is too early to say.
func (m *meter) perSecond() float64 {
	if len(m.samples) < 2 {
		return 0
	}
	a, b := m.samples[0], m.samples[len(m.samples)-1]
	if d := b.at.Sub(a.at).Seconds(); d >= 0.5 && b.bytes > a.bytes {
		return float64(b.bytes-a.bytes) / d
	}
	return 0
}

func (m *meter) rate() string {
	v := m.perSecond()
	if v == 0 {
		return ""
	}
	return size(int64(v)) + "/s"
}

// left is the time that so many bytes will take.
func (m *meter) left(bytes int64) string {
	v := m.perSecond()
	if v == 0 || bytes <= 0 {
		return ""
	}
	d := time.Duration(float64(bytes) / v * float64(time.Second))
	if d > 99*time.Hour {
		return "days left"
	}
	return clock(d) + " left"
}
