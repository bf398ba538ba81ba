package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/uploadbroker/uploadbroker/api/client"
)

// zipCmd downloads a project's Ready images as one zip.
type zipCmd struct {
	Project string `arg:"" name:"project" help:"Project: its id, the beginning of its id, or its exact name."`
	Output  string `help:"File to write; - for stdout. What breaks off goes on, also when the command is run again." placeholder:"FILE" short:"o" required:""`
	Force   bool   `help:"Overwrite the file."`

	remote
}

// Run does it.
func (c *zipCmd) Run(ctx context.Context, io stdio) error {
	if err := c.free(); err != nil {
		return err
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.CloseIdleConnections()
	project, err := cl.FindProject(ctx, c.Project)
	if err != nil {
		var none *client.NoProjectError
		if errors.As(err, &none) {
			return &exitError{exitUsage, clean(err.Error()) + "."}
		}
		return c.explain(err)
	}
	show := &zipProgress{screen: screenOf(io.Err), began: time.Now()}
	show.area.s = show.screen
	var sink zipSink = &zipFile{path: c.Output, show: show}
	if c.Output == "-" {
		sink = &zipStream{w: io.Out, show: show}
	}
	stop := show.watch()
	zip, err := cl.DownloadZip(ctx, project.ID, sink)
	stop()
	if err == nil {
		err = sink.finish(c.Force)
	}
	if closeErr := sink.close(); err == nil && closeErr != nil {
		err = &exitError{exitUsage, closeErr.Error()}
	}
	if err != nil {
		return c.failed(err, sink)
	}
	if c.Output != "-" {
		fmt.Fprintf(io.Err, "%s: %s of %s in %s\n", clean(c.Output), size(zip.SizeBytes), clean(project.Name), took(time.Since(show.began)))
	}
	return nil
}

// free refuses a file that is there.
func (c *zipCmd) free() error {
	if c.Output == "-" {
		return nil
	}
	info, err := os.Stat(c.Output)
	switch {
	case err == nil && info.IsDir():
		return &exitError{exitUsage, fmt.Sprintf("%s is a folder; name the file: -o %s", clean(c.Output), shellQuote(filepath.Join(c.Output, "photos.zip")))}
	case err == nil && !info.Mode().IsRegular():
		return &exitError{exitUsage, clean(c.Output) + " is no file; -o - writes to stdout."}
	case err == nil && !c.Force:
		return &exitError{exitUsage, clean(c.Output) + " is there already; --force overwrites it."}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return &exitError{exitUsage, clean(err.Error())}
	}
	return nil
}

// failed says how the download ended, and what to do.
func (c *zipCmd) failed(err error, sink zipSink) error {
	var own *exitError
	if errors.As(err, &own) {
		return own
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = &exitError{exitUsage, clean(err.Error())}
	} else {
		err = c.explain(err)
	}
	errors.As(err, &own)
	if part := sink.left(); part != "" {
		own.msg = strings.TrimSuffix(own.msg, ".") + ".\nWhat came is in " + clean(part) + ". Run the same command again to go on."
	}
	return own
}

// zipSink is where the zip goes.
type zipSink interface {
	client.ZipSink
	finish(force bool) error
	close() error
	left() string // the file with what came; "" when there is none
}

// zipFile is a file that has its name once it is whole. Until then its name ends in
// .part and what tells one zip from another, so that a further run finds what is
// there of the same one.
type zipFile struct {
	path string
	show *zipProgress
	part *os.File
}

// Begin implements client.ZipSink.
func (f *zipFile) Begin(z client.Zip) (int64, error) {
	if f.part != nil {
		f.show.say("The project's images changed, and so its zip: beginning again.")
		f.drop()
	}
	sum := sha256.Sum256([]byte(z.ETag))
	name := f.path + ".part-" + hex.EncodeToString(sum[:6])
	if others, _ := filepath.Glob(quoteGlob(f.path) + ".part-????????????"); len(others) > 0 {
		for _, other := range others {
			if filepath.Base(other) != filepath.Base(name) {
				f.show.say("The project's images changed since the last run, and so its zip: beginning again.")
				_ = os.Remove(other) // it is of no use to anybody
			}
		}
	}
	part, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return 0, err
	}
	f.part = part
	have, err := part.Seek(0, io.SeekEnd)
	if err == nil && have > z.SizeBytes { // of no zip that this could be
		if err = part.Truncate(0); err == nil {
			have, err = part.Seek(0, io.SeekStart)
		}
	}
	if err != nil {
		return 0, err
	}
	if have > 0 {
		f.show.say("Going on at " + sizeOf(have, z.SizeBytes) + ".")
	}
	f.show.begin(have, z.SizeBytes)
	return have, nil
}

func (f *zipFile) Write(p []byte) (int, error) {
	n, err := f.part.Write(p)
	f.show.add(n)
	return n, err
}

// Trouble implements client.ZipSink.
func (f *zipFile) Trouble(err error) { f.show.trouble(err) }

// finish gives the file its name when its bytes are on the disk.
func (f *zipFile) finish(force bool) error {
	if err := f.part.Sync(); err != nil {
		return err
	}
	name := f.part.Name()
	if err := f.close(); err != nil {
		return err
	}
	if _, err := os.Lstat(f.path); err == nil && !force {
		return &exitError{exitUsage, fmt.Sprintf("%s came to be meanwhile; the zip is whole, in %s.", clean(f.path), clean(name))}
	}
	if err := os.Rename(name, f.path); err != nil {
		return err
	}
	syncFolder(filepath.Dir(f.path))
	return nil
}

// syncFolder makes a new name outlive a loss of power, where a folder can be
// synced.
func syncFolder(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}

func (f *zipFile) close() error {
	if f.part == nil {
		return nil
	}
	part := f.part
	f.part = nil
	err := part.Sync() // what a further run begins with
	if closeErr := part.Close(); err == nil {
		err = closeErr
	}
	return err
}

// drop removes what came of a zip that is no more.
func (f *zipFile) drop() {
	_ = f.part.Close()
	_ = os.Remove(f.part.Name())
	f.part = nil
}

func (f *zipFile) left() string {
	others, _ := filepath.Glob(quoteGlob(f.path) + ".part-????????????")
	if len(others) == 0 {
		return ""
	}
	return others[0]
}

// quoteGlob makes a path mean itself.
func quoteGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// zipStream is stdout, which can't begin again.
type zipStream struct {
	w    io.Writer
	show *zipProgress
	sent int64
}

// Begin implements client.ZipSink.
func (s *zipStream) Begin(z client.Zip) (int64, error) {
	if s.sent > 0 {
		return 0, &exitError{exitNotReady, "the project's images changed, and so its zip: what went to stdout is of another one. With -o FILE it would begin again."}
	}
	s.show.begin(0, z.SizeBytes)
	return 0, nil
}

func (s *zipStream) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.sent += int64(n)
	s.show.add(n)
	return n, err
}

// Trouble implements client.ZipSink.
func (s *zipStream) Trouble(err error) { s.show.trouble(err) }
func (s *zipStream) finish(bool) error { return nil }
func (s *zipStream) close() error      { return nil }
func (s *zipStream) left() string      { return "" }

// zipProgress shows how far a download is: a bar on a terminal, a line now and then
// elsewhere.
type zipProgress struct {
	screen *screen
	began  time.Time

	mu    sync.Mutex
	area  area
	meter meter
	done  int64
	total int64
	fault string
	last  string
}

// watch shows until stop is called.
func (p *zipProgress) watch() (stop func()) {
	every := frameEvery
	if !p.screen.live {
		every = lineEvery
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-done:
				p.draw()
				p.mu.Lock()
				p.area.end()
				p.mu.Unlock()
				return
			case <-t.C:
				p.draw()
			}
		}
	})
	return sync.OnceFunc(func() { close(done); wg.Wait() })
}

func (p *zipProgress) draw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.total == 0 {
		return
	}
	p.meter.add(time.Now(), p.done)
	text := sizeOf(p.done, p.total)
	for _, note := range []string{p.meter.rate(), p.meter.left(p.total - p.done)} {
		if note != "" {
			text += ", " + note
		}
	}
	if p.fault != "" {
		text += "; " + p.fault + ", trying again"
	}
	if !p.screen.live {
		if text != p.last && p.done < p.total {
			p.last = text
			fmt.Fprintln(p.screen.w, text)
		}
		return
	}
	cols, _ := p.screen.size()
	bar := max(min(cols-len(text)-6, maxBar), minBar)
	line := "  " + p.screen.bar(p.done, p.total, bar, cyan) + "  " + text
	if cols < minBar+len(text)+6 {
		line = cut("  "+text, max(cols-1, 1))
	}
	p.area.draw([]string{line})
}

// begin is told how much there is to come, and how much is there.
func (p *zipProgress) begin(have, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done, p.total, p.meter = have, total, meter{}
	p.meter.add(time.Now(), have)
}

func (p *zipProgress) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += int64(n)
}

func (p *zipProgress) trouble(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = ""
	if err != nil {
		p.fault = clean(err.Error())
	}
}

// say writes a sentence above the bar.
func (p *zipProgress) say(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.area.end()
	fmt.Fprintln(p.screen.w, text)
}
