package clienttest

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/uploadbroker/uploadbroker/api/client"
)

func (s *Server) register(r *http.Request) (int, any) {
	p, no := s.find(r)
	if no != nil {
		return 404, no
	}
	var in struct {
		Bucket, Grant string
		Images        []client.Entry
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return 400, problem(400, "invalid", err.Error())
	}
	if no := s.tooMany(len(in.Images)); no != nil {
		return no.Status, no
	}
	out := make([]client.Result, len(in.Images))
	for i, e := range in.Images {
		out[i] = s.registerOne(p, e, in.Grant)
	}
	return 200, map[string]any{"results": out}
}

func (s *Server) registerOne(p *project, e client.Entry, kind string) client.Result {
	refuse := func(pr *client.Problem) client.Result {
		return client.Result{Status: client.StatusProblem, Problem: pr}
	}
	if s.Entry != nil {
		if pr := s.Entry(e); pr != nil {
			return refuse(pr)
		}
	}
	if sum, err := hex.DecodeString(e.SHA1); err != nil || len(sum) != 20 {
		return refuse(problem(422, "invalid_sha1", "sha1 must be 40 hexadecimal digits"))
	}
	if strings.ContainsAny(e.Name, "\\\x00\x1b\n") || strings.Contains("/"+e.Name+"/", "/../") {
		return refuse(problem(422, "invalid_name", "the name can't be kept"))
	}
	im := p.bySHA1(e.SHA1)
	if im == nil {
		size := e.Size
		im = &image{Image: client.Image{
			ID: newID(), ProjectID: p.ID, Name: e.Name, State: client.StateUploading, Attempt: 1,
			SHA1: strings.ToLower(e.SHA1), Size: &size, CreatedAt: time.Now(),
		}}
		im.Filename = im.SHA1 + strings.ToLower(path.Ext(e.Name))
		p.images = append(p.images, im)
	}
	s.settle(im)
	switch im.State {
	case client.StateUploaded, client.StateReady:
		return client.Result{Status: client.StatusExists, Image: ptr(im.Image)}
	case client.StateInvalid:
		im.Attempt++
		im.State, im.Reasons, im.arrived, im.body = client.StateUploading, nil, false, nil
		im.Filename = im.SHA1 + "-" + strconv.Itoa(im.Attempt) + strings.ToLower(path.Ext(e.Name))
	}
	return client.Result{Status: client.StatusGranted, Image: ptr(im.Image), Grant: s.grant(im, kind)}
}

func ptr[T any](v T) *T { return &v }

// grant is a right to PUT, known by a token in its URL.
type grant struct {
	im      *image
	attempt int
	headers map[string]string
	ends    time.Time
}

func (s *Server) grant(im *image, kind string) *client.Grant {
	if s.Session != nil && kind != client.GrantRequest {
		return s.session(im)
	}
	ttl := s.GrantTTL
	if ttl == 0 {
		ttl = time.Hour
	}
	sum, _ := hex.DecodeString(im.SHA1) // register has read it
	g := grant{im: im, attempt: im.Attempt, ends: s.now().Add(ttl), headers: map[string]string{
		"Content-Length":      strconv.FormatInt(*im.Size, 10),
		"X-Amz-Checksum-Sha1": base64.StdEncoding.EncodeToString(sum),
		"Content-Type":        "image/jpeg",
	}}
	im.ends = g.ends
	token := newID()
	s.grants[token] = g
	return &client.Grant{
		Kind: "request", Method: http.MethodPut, Headers: g.headers, ExpiresAt: g.ends, Bucket: "Local",
		URL: s.URL + "/bucket/" + im.ProjectID + "/" + im.Filename + "?X-Amz-Signature=" + token,
	}
}

// session grants a session at OSS.
func (s *Server) session(im *image) *client.Grant {
	session, ends := s.Session(im.ProjectID)
	session.Key = im.ProjectID + "/" + im.Filename
	im.ends = ends
	return &client.Grant{
		Kind: client.GrantSession, Method: http.MethodPut, URL: address(session), Headers: map[string]string{},
		ExpiresAt: ends, Bucket: "Local", Unbound: true, Session: &session,
	}
}

// address is where a session's object lies. Servers that have an address for a
// name get the bucket in the path.
func address(session client.Session) string {
	u, err := url.Parse(session.Endpoint)
	if err != nil {
		return ""
	}
	u.Path = "/" + session.Key
	if session.PathStyle || net.ParseIP(u.Hostname()) != nil {
		u.Path = "/" + session.Bucket + u.Path
	} else {
		u.Host = session.Bucket + "." + u.Host
	}
	return u.String()
}

// look finds out whether the bytes of an image lie at OSS.
func (s *Server) look(im *image) {
	if s.Session == nil || im.arrived {
		return
	}
	if im.body, im.arrived = s.Object(im.ProjectID + "/" + im.Filename); im.arrived {
		s.puts = append(s.puts, im.Name)
	}
}

// each answers a list of ids one by one.
func (s *Server) each(r *http.Request, f func(im *image, kind string) client.Result) (int, any) {
	p, no := s.find(r)
	if no != nil {
		return 404, no
	}
	var in struct {
		IDs   []string
		Grant string
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return 400, problem(400, "invalid", err.Error())
	}
	if no := s.tooMany(len(in.IDs)); no != nil {
		return no.Status, no
	}
	out := make([]client.Result, len(in.IDs))
	for i, id := range in.IDs {
		im := p.image(id)
		if im == nil || im.State == client.StateRemoved {
			out[i] = client.Result{Status: client.StatusProblem, Problem: problem(404, "not_found", "no such image")}
			continue
		}
		s.settle(im)
		out[i] = f(im, in.Grant)
	}
	return 200, map[string]any{"results": out}
}

func (s *Server) regrant(r *http.Request) (int, any) {
	return s.each(r, func(im *image, kind string) client.Result {
		switch im.State {
		case client.StatePending, client.StateUploading:
			return client.Result{Status: client.StatusGranted, Image: ptr(im.Image), Grant: s.grant(im, kind)}
		case client.StateInvalid:
			return client.Result{Status: client.StatusProblem, Problem: problem(409, "conflict", "the attempt has ended")}
		}
		return client.Result{Status: client.StatusExists, Image: ptr(im.Image)}
	})
}

func (s *Server) start(r *http.Request) (int, any) {
	return s.each(r, func(im *image, _ string) client.Result {
		return client.Result{Status: client.StatusOK, Image: ptr(im.Image)}
	})
}

func (s *Server) done(r *http.Request) (int, any) {
	return s.each(r, func(im *image, _ string) client.Result {
		s.look(im)
		if im.arrived && (im.State == client.StatePending || im.State == client.StateUploading) {
			im.State, im.UploadedAt, im.judge = client.StateUploaded, ptr(time.Now()), time.Now().Add(s.JudgeTime)
			if s.JudgeTime == 0 {
				im.judge = time.Time{}
			}
		}
		return client.Result{Status: client.StatusOK, Image: ptr(im.Image)}
	})
}

func (s *Server) check(r *http.Request) (int, any) {
	p, no := s.find(r)
	if no != nil {
		return 404, no
	}
	var in struct{ SHA1 []string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return 400, problem(400, "invalid", err.Error())
	}
	if no := s.tooMany(len(in.SHA1)); no != nil {
		return no.Status, no
	}
	out := make([]client.CheckResult, len(in.SHA1))
	for i, sum := range in.SHA1 {
		out[i] = client.CheckResult{SHA1: sum, Status: client.StatusAbsent}
		im := p.bySHA1(sum)
		if im == nil {
			continue
		}
		s.settle(im)
		out[i].Image = ptr(im.Image)
		switch im.State {
		case client.StateUploaded, client.StateReady:
			out[i].Status = client.StatusExists
		case client.StateInvalid:
			out[i].Status = client.StatusInvalid
		default:
			out[i].Status = client.StatusOpen
		}
	}
	return 200, map[string]any{"results": out}
}

func (s *Server) listImages(r *http.Request) (int, any) {
	p, no := s.find(r)
	if no != nil {
		return 404, no
	}
	q := r.URL.Query()
	from, _ := strconv.Atoi(q.Get("cursor"))
	limit, _ := strconv.Atoi(q.Get("limit"))
	if limit <= 0 {
		limit = 100
	}
	out := client.ImagePage{Images: []client.Image{}}
	for i := from; i < len(p.images); i++ {
		if len(out.Images) == limit {
			out.NextCursor = strconv.Itoa(i)
			break
		}
		s.settle(p.images[i])
		if state := q.Get("state"); state == "" || state == p.images[i].State {
			out.Images = append(out.Images, p.images[i].Image)
		}
	}
	return 200, out
}

func (s *Server) withImage(r *http.Request, f func(*image) any) (int, any) {
	p, no := s.find(r)
	if no != nil {
		return 404, no
	}
	im := p.image(r.PathValue("id"))
	if im == nil {
		return 404, problem(404, "not_found", "no such image")
	}
	s.settle(im)
	return 200, f(im)
}

func (s *Server) oneImage(r *http.Request) (int, any) {
	return s.withImage(r, func(im *image) any {
		return client.ImageDetail{Image: im.Image, History: []client.Event{{At: im.CreatedAt, Action: "register"}}}
	})
}

func (s *Server) removeImage(r *http.Request) (int, any) {
	return s.withImage(r, func(im *image) any {
		im.State, im.RemovedAt = client.StateRemoved, ptr(time.Now())
		return im.Image
	})
}

func (s *Server) undoImage(r *http.Request) (int, any) {
	return s.withImage(r, func(im *image) any {
		im.State, im.RemovedAt = client.StateUploading, nil
		return im.Image
	})
}

func (s *Server) acceptImage(r *http.Request) (int, any) {
	status, answer := s.withImage(r, func(im *image) any {
		if im.State != client.StateInvalid && !im.Accepted {
			return nil
		}
		im.State, im.Accepted = client.StateReady, true
		return im.Image
	})
	if answer == nil {
		return 409, problem(409, "conflict", "only an Invalid image can be accepted")
	}
	return status, answer
}
