package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
)

// file is one that the program has in itself, and what of it can be known
// beforehand.
type file struct {
	content []byte
	kind    string // MIME type
	tag     string // ETag without quotes
	packed  []byte // by gzip; nil when that saves nothing
}

// newFile packs a file, once, when it is first asked for.
func newFile(files fs.FS, name string) func() (*file, error) {
	return sync.OnceValues(func() (*file, error) {
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(content)
		f := &file{content: content, kind: kindOf(name), tag: hex.EncodeToString(sum[:12])}
		var b bytes.Buffer
		w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err != nil {
			return nil, err
		}
		if _, err = w.Write(content); err == nil {
			err = w.Close()
		}
		if err == nil && b.Len() < len(content)*9/10 {
			f.packed = b.Bytes()
		}
		return f, err
	})
}

// kindOf is the type of a file of ours. The machine's own table is not asked: some
// have a strange one.
func kindOf(name string) string {
	switch ext := path.Ext(name); ext {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".wasm":
		return "application/wasm"
	case ".md", ".txt", "":
		return "text/plain; charset=utf-8"
	default:
		return mime.TypeByExtension(ext)
	}
}

// mountStatic serves the embedded files. A browser asks whether its copy is still
// good; so a new version of the program is a new page at once.
func (f *face) mountStatic(e *echo.Echo, files fs.FS) error {
	all := map[string]func() (*file, error){}
	if err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all[name] = newFile(files, name)
		}
		return err
	}); err != nil {
		return err
	}
	f.modules = map[string][]string{}
	for _, page := range pageNames() {
		for _, lang := range []string{english, chinese} {
			f.modules[page+" "+lang] = modulesOf(all, page, lang)
		}
	}
	e.GET("/static/*", func(c echo.Context) error {
		open, ok := all[c.Param("*")]
		if !ok {
			return echo.ErrNotFound
		}
		file, err := open()
		if err != nil {
			return err
		}
		f.headers(c)
		h := c.Response().Header()
		h.Set("Cache-Control", "no-cache")
		h.Set("Content-Type", file.kind)
		h.Add("Vary", "Accept-Encoding")
		content, tag := file.content, file.tag
		// A range is one of the plain bytes.
		if file.packed != nil && acceptsGzip(c.Request()) && c.Request().Header.Get("Range") == "" {
			content, tag = file.packed, tag+"-gz"
			h.Set("Content-Encoding", "gzip")
		}
		h.Set("ETag", `"`+tag+`"`)
		http.ServeContent(c.Response(), c.Request(), "", time.Time{}, bytes.NewReader(content))
		return nil
	})
	return nil
}

// modulesOf are the modules that a page surely loads: named in its head, they come
// in one turn instead of in three.
func modulesOf(all map[string]func() (*file, error), page, lang string) []string {
	names := []string{"app/main.js", "app/api.js", "app/i18n.js", "app/ui.js", "app/views/" + page + ".js"}
	for name := range all {
		gallery := (page == "project" || page == "tag") && (path.Dir(name) == "app/gallery" || name == "app/live.js")
		// The worker's file comes with the worker.
		uploader := page == "project" && name != "uploadbroker-sha1.js" && (name == "app/views/upload.js" || strings.HasPrefix(name, "uploadbroker"))
		if path.Dir(name) == "app/lang/"+lang || gallery || uploader {
			names = append(names, name)
		}
	}
	slices.Sort(names[5:])
	kept := names[:0]
	for _, name := range names {
		if _, ok := all[name]; ok {
			kept = append(kept, name)
		}
	}
	return kept
}

// acceptsGzip reads Accept-Encoding (RFC 9110, section 12.5.3).
func acceptsGzip(r *http.Request) bool {
	for _, line := range r.Header.Values("Accept-Encoding") {
		for part := range strings.SplitSeq(line, ",") {
			coding, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
			if coding = strings.TrimSpace(coding); strings.EqualFold(coding, "gzip") || coding == "*" {
				weight = strings.TrimSpace(weight)
				return weight != "q=0" && !strings.HasPrefix(weight, "q=0.000") && weight != "q=0.0" && weight != "q=0.00"
			}
		}
	}
	return false
}
