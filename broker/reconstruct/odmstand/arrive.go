package odmstand

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// bodyFile holds an upload's fields until it is closed.
const bodyFile = "body.json"

// maxField is the most of a text field that is kept (multer's fieldSize).
const maxField = 1 << 20

// named gives a new task its uuid.
func (n *Node) named(r *http.Request) (string, error) {
	uuid := r.Header.Get("set-uuid")
	if uuid == "" {
		return "11111111-2222-4333-8444-" + fmt.Sprintf("%012x", time.Now().UnixNano()&(1<<48-1)), nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !uuidForm.MatchString(uuid) || n.tasks[uuid] != nil {
		return "", refusal("Invalid set-uuid: " + uuid)
	}
	return uuid, nil
}

// parts reads a multipart body: fields into a map, files into a folder.
func (n *Node) parts(r *http.Request, dir string) (fields map[string]string, files int, err error) {
	fields = map[string]string{}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		return fields, 0, nil // multer passes over what it does not know
	}
	body := multipart.NewReader(r.Body, params["boundary"])
	for {
		part, err := body.NextRawPart()
		if errors.Is(err, io.EOF) {
			return fields, files, nil
		}
		if err != nil {
			return nil, 0, refusal("Unexpected end of form")
		}
		if part.FileName() == "" {
			text, err := io.ReadAll(io.LimitReader(part, maxField))
			if err != nil {
				return nil, 0, err
			}
			fields[part.FormName()] = string(text)
			continue
		}
		if part.FormName() != "images" || dir == "" {
			return nil, 0, refusal("Unexpected field")
		}
		if err := n.store(dir, part); err != nil {
			return nil, 0, err
		}
		files++
	}
}

// store writes a file. What breaks off in the middle stays.
func (n *Node) store(dir string, part *multipart.Part) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	name := path.Base(part.FileName())
	if name == bodyFile {
		name = "_" + bodyFile
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if n.o.Old {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	var f *os.File
	for {
		var err error
		if f, err = os.OpenFile(filepath.Join(dir, name), flags, 0o600); err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		ext := path.Ext(name)
		name = strings.TrimSuffix(name, ext) + "_" + ext
	}
	defer f.Close()
	if _, err := io.Copy(f, part); err != nil {
		if n.o.Cluster { // which removes the piece
			_ = os.Remove(f.Name())
		}
		return refusal("Request aborted")
	}
	return nil
}

func (n *Node) tmp(uuid string) string { return filepath.Join(n.o.Dir, "tmp", uuid) }

// create is /task/new: files or a zipurl, in one request.
func (n *Node) create(w http.ResponseWriter, r *http.Request) {
	uuid, err := n.named(r)
	if err != nil {
		refuse(w, "%s", err)
		return
	}
	dir := n.tmp(uuid)
	fields, files, err := n.parts(r, dir)
	switch {
	case err != nil:
	case n.o.Cluster && fields["zipurl"] != "":
		err = refusal("File upload via URL is not available. Sorry :(")
	case files == 0 && fields["zipurl"] == "":
		err = refusal("Need at least 1 file or a zip file url.")
	default:
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		refuse(w, "%s", err)
		_ = os.RemoveAll(dir)
		return
	}
	n.add(w, uuid, fields)
}

// begin is /task/new/init.
func (n *Node) begin(w http.ResponseWriter, r *http.Request) {
	uuid, err := n.named(r)
	if err != nil {
		refuse(w, "%s", err)
		return
	}
	fields, _, err := n.parts(r, "")
	if err != nil {
		refuse(w, "%s", err)
		return
	}
	dir := n.tmp(uuid)
	if n.o.Cluster && fields["zipurl"] != "" {
		refuse(w, "File upload via URL is not available. Sorry :(")
		return
	}
	if _, err := filterOptions(fields["options"]); err != nil {
		refuse(w, "%s", err)
		_ = os.RemoveAll(dir)
		return
	}
	if _, err := os.Stat(dir); err == nil && n.o.Old {
		refuse(w, "Directory exists (should not have happened: undefined)")
		_ = os.RemoveAll(dir)
		return
	}
	text, err := json.Marshal(fields)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, bodyFile), text, 0o600)
	}
	if err != nil {
		refuse(w, "%s", err)
		return
	}
	say(w, map[string]string{"uuid": uuid})
}

// open says whether an upload was begun; otherwise it has refused.
func (n *Node) open(w http.ResponseWriter, uuid string) bool {
	if _, err := os.Stat(filepath.Join(n.tmp(uuid), bodyFile)); err != nil {
		if n.o.Cluster {
			refuse(w, "Invalid taskId: the task no longer exists.")
		} else {
			refuse(w, "Invalid uuid (not found)")
		}
		return false
	}
	return true
}

func (n *Node) upload(w http.ResponseWriter, r *http.Request) {
	uuid := r.PathValue("uuid")
	if !n.open(w, uuid) {
		return
	}
	switch _, files, err := n.parts(r, n.tmp(uuid)); {
	case err != nil:
		refuse(w, "%s", err)
	case files == 0 && n.o.Cluster:
		refuse(w, "No files uploaded.")
	case files == 0:
		say(w, map[string]any{"error": "Need at least 1 file.", "noRetry": true})
	default:
		say(w, map[string]any{"success": true})
	}
}

func (n *Node) commit(w http.ResponseWriter, r *http.Request) {
	uuid := r.PathValue("uuid")
	if !n.open(w, uuid) {
		return
	}
	dir := n.tmp(uuid)
	var fields map[string]string
	text, err := os.ReadFile(filepath.Join(dir, bodyFile))
	if err == nil {
		err = json.Unmarshal(text, &fields)
	}
	if err == nil {
		err = os.Remove(filepath.Join(dir, bodyFile))
	}
	if err != nil {
		refuse(w, "%s", err)
		return
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) == 0 {
		refuse(w, "Need at least 1 file.")
		_ = os.RemoveAll(dir)
		return
	}
	n.add(w, uuid, fields)
}

// add makes the task and answers; then it goes on to fetch and unpack.
func (n *Node) add(w http.ResponseWriter, uuid string, fields map[string]string) {
	options, err := filterOptions(fields["options"])
	dir := n.tmp(uuid)
	files, readErr := os.ReadDir(dir)
	if err = errors.Join(err, readErr); err != nil {
		refuse(w, "%s", err)
		_ = os.RemoveAll(dir)
		return
	}
	t := &task{
		uuid: uuid, name: fields["name"], webhook: fields["webhook"], options: options, created: time.Now(),
		dir: filepath.Join(n.o.Dir, "data", uuid), state: Running, estimate: len(files),
	}
	if n.o.Old {
		t.estimate = -1
	}
	n.mu.Lock()
	n.tasks[uuid], n.order = t, append(n.order, uuid)
	n.mu.Unlock()
	n.work.Go(func() { n.unpack(t, fields["zipurl"]) })
	say(w, map[string]string{"uuid": uuid})
}

// unpack brings a task's images where it works with them.
func (n *Node) unpack(t *task, zipURL string) {
	files, err := n.gather(t, zipURL)
	n.mu.Lock()
	defer n.mu.Unlock()
	t.ready, t.files = true, files
	if t.state == Running {
		t.state = Queued
		if err != nil {
			t.state, t.message = Failed, err.Error()
		}
	}
	n.changed.Broadcast()
}

func (n *Node) gather(t *task, zipURL string) ([]string, error) {
	images, gcp := filepath.Join(t.dir, "images"), filepath.Join(t.dir, "gcp")
	if zipURL != "" {
		if err := fetch(zipURL, filepath.Join(n.tmp(t.uuid), "zipurl.zip")); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(os.RemoveAll(t.dir), os.MkdirAll(gcp, 0o700), os.Rename(n.tmp(t.uuid), images)); err != nil {
		return nil, err
	}
	if zipURL != "" {
		if err := unzip(filepath.Join(images, "zipurl.zip"), images); err != nil {
			return nil, refusal("Could not extract .zip file, 7z exited with code 2")
		}
	}
	entries, err := os.ReadDir(images)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		switch from := filepath.Join(images, e.Name()); strings.ToLower(path.Ext(e.Name())) {
		case ".txt":
			err = os.Rename(from, filepath.Join(gcp, e.Name()))
		case ".zip":
			err = os.Remove(from)
		default:
			files = append(files, e.Name())
		}
		if err != nil {
			return nil, err
		}
	}
	if n.o.MaxImages > 0 && len(files) > n.o.MaxImages {
		return nil, refusal(fmt.Sprintf("%d images uploaded, but this node can only process up to %d.", len(files), n.o.MaxImages))
	}
	return files, nil
}

// fetch looks at no status, and takes what came before a connection broke for the
// whole.
func fetch(url, file string) error {
	head, err := http.Head(url)
	if err != nil {
		return err
	}
	head.Body.Close()
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, _ = io.Copy(f, resp.Body)
	return nil
}

// unzip leaves folders away, so that equal names overwrite each other.
func unzip(file, dir string) error {
	z, err := zip.OpenReader(file)
	if err != nil {
		return err
	}
	defer z.Close()
	for _, entry := range z.File {
		if strings.HasSuffix(entry.Name, "/") {
			continue
		}
		from, err := entry.Open()
		if err != nil {
			return err
		}
		to, err := os.Create(filepath.Join(dir, path.Base(entry.Name)))
		if err == nil {
			_, err = io.Copy(to, from)
			err = errors.Join(err, to.Close())
		}
		if err = errors.Join(err, from.Close()); err != nil {
			return err
		}
	}
	return nil
}
