// Package clienttest holds a stand-in for an uploadbroker server and its bucket,
// for tests of programs that use package client.
//
// It speaks the REST wire and S3's presigned PUT over real HTTP, keeps everything
// in memory, and can be told to misbehave. It is a stand-in and no more: its
// states are a sketch of the real ones, its verdict looks at a file's first bytes
// only, and it knows one key. What it refuses it refuses as the real ones do: a PUT
// with other headers, another length or other bytes than were granted.
//
// With Server.Session set it sends its clients to a bucket at OSS, or at an
// emulator of it, instead of its own.
package clienttest

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/uploadbroker/uploadbroker/api/client"
)

// Key is the one key that a stand-in knows.
const Key = "stand-in-key-0123456789"

// Server is a stand-in. Set the exported fields before its first use, or with
// Change.
type Server struct {
	URL string

	GrantTTL  time.Duration // 0: an hour
	MaxBatch  int           // 0: 1,000
	JudgeTime time.Duration // from the done call to the verdict
	NoWorker  bool          // nothing is ever judged
	PutRate   int           // bytes a second that one PUT gets through; 0: no limit
	TiedTo    string        // project that the key is tied to

	// Session, if set, is asked for sessions that may write below a project's prefix
	// at an OSS, or an emulator of it, and for when they end; its Key is filled in
	// here. Register and regrant give grants of that kind then, unless they are asked
	// for presigned requests. Object reads what lies in that bucket at a key.
	Session func(pid string) (client.Session, time.Time)
	Object  func(key string) ([]byte, bool)
	// Now is the clock of the stand-in; nil: time.Now.
	Now func() time.Time

	TaskFault *client.Problem // refuses every start of a reconstruction

	// API and Bucket see each request first; true means that they have answered.
	API    func(w http.ResponseWriter, r *http.Request) bool
	Bucket func(w http.ResponseWriter, r *http.Request) bool
	// Entry may refuse one entry of register.
	Entry func(e client.Entry) *client.Problem

	http *httptest.Server

	mu       sync.Mutex
	projects []*project
	tasks    []*client.Task
	calls    map[string]int
	puts     []string // names, in the order in which they arrived whole
	putBytes int64
	expired  int
	grants   map[string]grant // by token
}

type project struct {
	client.Project
	images []*image
}

type image struct {
	client.Image
	body    []byte
	arrived bool
	ends    time.Time // its last grant
	judge   time.Time // when its verdict is due
}

// New starts a stand-in; Close it.
func New() *Server {
	s := &Server{calls: map[string]int{}, grants: map[string]grant{}}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /bucket/{pid}/{file}", s.put)
	handle := func(pattern, name string, h func(r *http.Request) (int, any)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { s.api(w, r, name, h) })
	}
	handle("POST /v1/projects", "create", s.createProject)
	handle("GET /v1/projects", "projects", s.listProjects)
	handle("GET /v1/projects/{pid}", "project", s.oneProject)
	handle("DELETE /v1/projects/{pid}", "remove", s.removeProject)
	handle("POST /v1/projects/{pid}/undo", "undo", s.undoProject)
	handle("GET /v1/projects/{pid}/images", "images", s.listImages)
	handle("GET /v1/projects/{pid}/images/{id}", "image", s.oneImage)
	handle("DELETE /v1/projects/{pid}/images/{id}", "remove-image", s.removeImage)
	handle("POST /v1/projects/{pid}/images/{id}/undo", "undo-image", s.undoImage)
	handle("POST /v1/projects/{pid}/images/{id}/accept", "accept-image", s.acceptImage)
	handle("POST /v1/projects/{pid}/images/register", "register", s.register)
	handle("POST /v1/projects/{pid}/images/regrant", "regrant", s.regrant)
	handle("POST /v1/projects/{pid}/images/start", "start", s.start)
	handle("POST /v1/projects/{pid}/images/done", "done", s.done)
	handle("POST /v1/projects/{pid}/images/check", "check", s.check)
	handle("POST /v1/projects/{pid}/tasks", "start-task", s.startTask)
	handle("GET /v1/projects/{pid}/tasks", "project-tasks", s.listTasks)
	handle("GET /v1/tasks", "tasks", s.listTasks)
	handle("GET /v1/tasks/{id}", "task", s.oneTask)
	handle("POST /v1/tasks/{id}/stop", "stop-task", s.stopTask)
	handle("GET /v1/buckets/nearest", "nearest", func(*http.Request) (int, any) {
		return 200, map[string]any{"buckets": []client.Bucket{{Symbol: "Local", Display: "This machine", Cloud: "S3"}}}
	})
	handle("GET /v1/me", "me", func(*http.Request) (int, any) {
		return 200, client.Me{
			Owner: client.Owner{ID: "01OWNER", Email: "owner@localhost"},
			Key:   client.Key{ID: "01KEY", Scopes: []string{"read", "upload", "manage"}, Clouds: []string{}, ProjectID: s.TiedTo},
		}
	})
	s.http = httptest.NewUnstartedServer(mux)
	s.http.Config.ConnState = func(c net.Conn, st http.ConnState) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if t, ok := c.(*net.TCPConn); ok && st == http.StateNew && s.PutRate > 0 {
			_ = t.SetReadBuffer(64 << 10) // else loopback takes in megabytes at once
		}
	}
	s.http.Start()
	s.URL = s.http.URL
	return s
}

// Close stops the stand-in, also in the middle of a request.
func (s *Server) Close() {
	s.http.CloseClientConnections()
	s.http.Close()
}

// Change sets fields while the stand-in is in use.
func (s *Server) Change(f func(*Server)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

// Calls is how often a call was made: register, done, check and so on.
func (s *Server) Calls(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[name]
}

// Puts are the names of the images whose bytes arrived whole, in order.
func (s *Server) Puts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.puts)
}

// PutBytes is how many bytes all PUTs brought, whole or not.
func (s *Server) PutBytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.putBytes
}

// Project makes a project without a call.
func (s *Server) Project(name string) client.Project {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newProject(name, client.KindRecon).Project
}

// Image gives the image of a name, as it is now; nil if there is none.
func (s *Server) Image(pid, name string) *client.Image {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.projects {
		for _, im := range p.images {
			if p.ID == pid && im.Name == name && im.State != client.StateRemoved {
				s.settle(im)
				out := im.Image
				return &out
			}
		}
	}
	return nil
}

func (s *Server) newProject(name, kind string) *project {
	p := &project{Project: client.Project{ID: newID(), Name: name, Kind: kind, CreatedAt: time.Now()}}
	s.projects = append(s.projects, p)
	return p
}

// Expired is how many images were given up because nothing arrived in time.
func (s *Server) Expired() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.expired
}

// newID looks like a ULID.
func newID() string {
	b := make([]byte, 11)
	rand.Read(b)
	return "01" + strings.ToUpper(hex.EncodeToString(b)) + "ZZ"
}

func (s *Server) api(w http.ResponseWriter, r *http.Request, name string, h func(*http.Request) (int, any)) {
	s.mu.Lock()
	s.calls[name]++
	first := s.API
	s.mu.Unlock()
	if first != nil && first(w, r) {
		return
	}
	status, answer := 401, any(problem(401, "unauthenticated", "no such key"))
	if r.Header.Get("Authorization") == "Bearer "+Key {
		s.mu.Lock()
		status, answer = h(r)
		s.mu.Unlock()
	}
	kind := "application/json"
	if _, ok := answer.(*client.Problem); ok {
		kind = "application/problem+json"
	}
	b, err := json.Marshal(answer)
	if err != nil {
		panic(err) // an answer of our own
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Date", s.now().UTC().Format(http.TimeFormat))
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

func problem(status int, code, detail string) *client.Problem {
	return &client.Problem{Status: status, Code: code, Detail: detail, Title: http.StatusText(status)}
}

func (s *Server) createProject(r *http.Request) (int, any) {
	var in struct{ Name, Kind string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Name == "" {
		return 400, problem(400, "invalid", "a project needs a name")
	}
	return 201, s.newProject(in.Name, in.Kind).Project
}

func (s *Server) listProjects(r *http.Request) (int, any) {
	q := r.URL.Query().Get("q")
	out := []client.Project{}
	for _, p := range s.projects {
		if p.RemovedAt == nil && (q == "" || p.Name == q || strings.HasPrefix(p.ID, q)) {
			out = append(out, p.Project)
		}
	}
	return 200, client.ProjectPage{Projects: out}
}

func (s *Server) find(r *http.Request) (*project, *client.Problem) {
	for _, p := range s.projects {
		if p.ID == r.PathValue("pid") {
			return p, nil
		}
	}
	return nil, problem(404, "not_found", "no such project")
}

func (s *Server) oneProject(r *http.Request) (int, any) {
	p, no := s.find(r)
	if no != nil {
		return 404, no
	}
	out := p.Project
	out.Counts = map[string]int{}
	for _, im := range p.images {
		s.settle(im)
		out.Counts[im.State]++
	}
	return 200, out
}

func (s *Server) removeProject(r *http.Request) (int, any) {
	p, no := s.find(r)
	if no != nil {
		return 404, no
	}
	now := time.Now()
	until := now.Add(10 * time.Minute)
	p.RemovedAt, p.UndoUntil = &now, &until
	return 200, p.Project
}

func (s *Server) undoProject(r *http.Request) (int, any) {
	p, no := s.find(r)
	if no != nil {
		return 404, no
	}
	p.RemovedAt, p.UndoUntil = nil, nil
	return 200, p.Project
}

func (p *project) image(id string) *image {
	for _, im := range p.images {
		if im.ID == id {
			return im
		}
	}
	return nil
}

func (p *project) bySHA1(sum string) *image {
	for _, im := range p.images {
		if im.SHA1 == strings.ToLower(sum) && im.State != client.StateRemoved {
			return im
		}
	}
	return nil
}

func (s *Server) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

// settle gives an image the verdict that is due. An image is waited for until five
// minutes after its last grant has ended.
func (s *Server) settle(im *image) {
	open := im.State == client.StatePending || im.State == client.StateUploading
	if open && !im.ends.IsZero() && s.now().After(im.ends.Add(5*time.Minute)) {
		if s.look(im); !im.arrived {
			im.State, im.Reasons = client.StateInvalid, []string{"expired: the upload did not arrive in time"}
			s.expired++
		}
	}
	if im.State != client.StateUploaded || s.NoWorker || time.Now().Before(im.judge) {
		return
	}
	now := time.Now()
	im.JudgedAt = &now
	sum := sha1.Sum(im.body)
	switch {
	case len(im.body) == 0:
		im.State, im.Reasons = client.StateInvalid, []string{"empty: the file has no bytes"}
	case hex.EncodeToString(sum[:]) != im.SHA1:
		im.State, im.Reasons = client.StateInvalid, []string{"checksum_mismatch: these are other bytes"}
	case !strings.HasPrefix(string(im.body), "\xff\xd8\xff"):
		im.State, im.Reasons = client.StateInvalid, []string{"unsupported_format: the file is not an image"}
	default:
		im.State = client.StateReady
	}
}

func (s *Server) tooMany(n int) *client.Problem {
	limit := s.MaxBatch
	if limit == 0 {
		limit = client.MaxBatch
	}
	if n <= limit {
		return nil
	}
	return problem(413, "batch_too_large", fmt.Sprintf("at most %d entries", limit))
}
