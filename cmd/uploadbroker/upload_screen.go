package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"golang.org/x/term"
)

// screen is what is known of the place that a stream is shown at.
type screen struct {
	w       io.Writer
	live    bool // a terminal that can move its cursor
	color   bool
	unicode bool
	size    func() (cols, rows int)
}

// screenOf looks at a stream. Colours are off with NO_COLOR (no-color.org), moving
// pictures with TERM=dumb.
func screenOf(w io.Writer) *screen {
	s := &screen{w: w, unicode: unicodeLocale(), size: func() (int, int) { return 0, 0 }}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return s
	}
	s.live = os.Getenv("TERM") != "dumb"
	s.color = s.live && os.Getenv("NO_COLOR") == ""
	s.size = func() (int, int) {
		cols, rows, err := term.GetSize(int(f.Fd()))
		if err != nil || cols <= 0 {
			return 80, 24
		}
		return cols, rows
	}
	return s
}

// unicodeLocale reports whether more than ASCII can be shown.
func unicodeLocale() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := os.Getenv(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return runtime.GOOS == "windows" || runtime.GOOS == "darwin"
}

// The colours, as SGR parameters: the terminal's own palette, so that they suit
// light and dark ones.
const (
	green  = "32"
	yellow = "33"
	red    = "31"
	cyan   = "36"
	dim    = "2"
	bold   = "1"
)

func (s *screen) paint(color, text string) string {
	if !s.color || text == "" || color == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// plain turns typographic characters into ASCII where the locale has none.
func (s *screen) plain(text string) string {
	if s.unicode {
		return text
	}
	return strings.NewReplacer("…", "~", "→", "->", "·", "-").Replace(text)
}

// bar draws a bar of so many columns.
func (s *screen) bar(part, whole int64, cols int, color string) string {
	done := 0
	half := false
	if whole > 0 {
		halves := int(float64(min(part, whole)) / float64(whole) * float64(2*cols))
		done, half = halves/2, halves%2 == 1
	}
	full, end, rest := "━", "╸", "─"
	if s.color {
		rest = "━" // told apart by its colour
	}
	if !s.unicode {
		full, end, rest = "=", ">", "-"
	}
	left := strings.Repeat(full, done)
	n := cols - done
	if half {
		left += end
		n--
	}
	return s.paint(color, left) + s.paint(dim, strings.Repeat(rest, n))
}

// area is some lines at the bottom of a terminal that are drawn again and again.
type area struct {
	s     *screen
	lines int // drawn last time
}

// draw shows the lines in place of those shown before. None of them may be wider
// than the terminal, or they could not be found again.
func (a *area) draw(lines []string) {
	var b strings.Builder
	if a.lines == 0 {
		b.WriteString("\x1b[?25l") // no cursor that jumps about
	} else {
		fmt.Fprintf(&b, "\x1b[%dA", a.lines)
	}
	for _, l := range lines {
		b.WriteString("\r\x1b[2K" + l + "\n")
	}
	for range a.lines - len(lines) {
		b.WriteString("\r\x1b[2K\n")
	}
	if extra := a.lines - len(lines); extra > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", extra)
	}
	a.lines = len(lines)
	_, _ = io.WriteString(a.s.w, b.String()) // a terminal that is gone is nothing to act on
}

// end leaves the last picture standing.
func (a *area) end() {
	if a.lines > 0 {
		_, _ = io.WriteString(a.s.w, "\x1b[?25h")
	}
	a.lines = 0
}
