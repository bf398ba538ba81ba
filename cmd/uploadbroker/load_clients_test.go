package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// loadClient is one of the crowd, with a connection of its own.
type loadClient struct {
	load    *loadRun
	number  int
	r       *rand.Rand
	http    *http.Client
	old     bool // speaks GraphQL, as clients from before this program do
	tells   bool // says done after its PUTs
	reads   bool // looks at its project between
	fresh   bool // dials anew for each round
	project string

	files  []*loadFile // all that it registered
	took   map[string][]time.Duration
	faults map[string]int // by kind of request and what went wrong
}

// Pauses of a client: between two steps, as a person or a disk makes them, and
// between two questions for a verdict, as the clients in the field do.
const (
	loadThink = 300 * time.Millisecond
	loadAsk   = time.Second
)

func newLoadClient(l *loadRun, number int) *loadClient {
	c := &loadClient{
		load: l, number: number, r: rand.New(rand.NewPCG(uint64(number), uint64(l.began.UnixNano()))),
		old: number%4 == 3, tells: number%2 == 0, reads: number%3 == 0, fresh: number%10 == 9,
		took: map[string][]time.Duration{}, faults: map[string]int{},
	}
	c.http = &http.Client{Timeout: patience, Transport: &http.Transport{MaxConnsPerHost: 1, MaxIdleConnsPerHost: 1}}
	return c
}

// run uploads round after round until the time is over; what it began to upload
// then, it ends.
func (c *loadClient) run(ctx context.Context) {
	defer c.http.CloseIdleConnections()
	if !c.begin() {
		return
	}
	for round := 0; ctx.Err() == nil && (c.load.size.rounds == 0 || round < c.load.size.rounds); round++ {
		c.think(ctx)
		files := make([]*loadFile, 1+c.r.IntN(5))
		for i := range files {
			files[i] = newLoadFile(c.load.pick(c.r, c.old), c.r)
		}
		if c.old {
			c.uploadOld(ctx, files)
		} else {
			c.upload(ctx, files)
		}
		if c.fresh {
			c.http.CloseIdleConnections()
		}
	}
}

// begin finds the client's project: one of its own, or for a quarter of the crowd
// one of ten that teams share.
func (c *loadClient) begin() bool {
	if c.number%4 == 2 {
		c.project = c.load.teams[c.number/4%len(c.load.teams)]
		return true
	}
	name := fmt.Sprintf("client %d", c.number)
	if c.old {
		var data struct{ CreateProject struct{ ID string } }
		ok := c.query("createProject", fmt.Sprintf(`mutation{createProject(name:%q,type:free){id}}`, name), &data)
		c.project = data.CreateProject.ID
		return ok
	}
	var p struct{ ID string }
	ok := c.rest("create project", http.MethodPost, "/v1/projects", map[string]any{"name": name}, http.StatusCreated, &p)
	c.project = p.ID
	return ok
}

// upload brings a batch as the native API has it.
func (c *loadClient) upload(ctx context.Context, files []*loadFile) {
	path := "/v1/projects/" + c.project + "/images"
	entries := make([]map[string]any, len(files))
	for i, f := range files {
		entries[i] = map[string]any{"name": f.name, "sha1": f.declared, "size": len(f.text)}
	}
	var answer struct{ Results []result }
	if !c.rest("register", http.MethodPost, path+"/register", map[string]any{"images": entries}, http.StatusOK, &answer) {
		return
	}
	if len(answer.Results) != len(files) {
		c.fault("register", "%d results for %d files", len(answer.Results), len(files))
		return
	}
	var ids []string
	for i, r := range answer.Results {
		if r.Status != "granted" || r.Image.ID == "" {
			c.fault("register", "a new file is answered %q %s", r.Status, r.Problem.Detail)
			continue
		}
		f := files[i]
		f.id = r.Image.ID
		c.files = append(c.files, f)
		ids = append(ids, f.id)
		c.think(ctx)
		if c.r.IntN(50) == 0 {
			// A client mixes up two files: the grant is bound to the bytes.
			c.send("PUT of other bytes", r.Grant.Method, r.Grant.URL, r.Grant.Headers, wrongBytes(f.text), http.StatusBadRequest, nil)
		}
		if c.send("PUT", r.Grant.Method, r.Grant.URL, r.Grant.Headers, f.text, http.StatusOK, nil) {
			f.put = time.Now()
		}
	}
	if c.tells {
		var told struct{ Results []result }
		if c.rest("done", http.MethodPost, path+"/done", map[string]any{"ids": ids}, http.StatusOK, &told) {
			for _, r := range told.Results {
				if r.Status != "ok" {
					c.fault("done", "an image is answered %q %s", r.Status, r.Problem.Detail)
				}
			}
		}
	}
	if c.reads {
		c.think(ctx)
		if c.r.IntN(2) == 0 {
			c.rest("list", http.MethodGet, path+"?limit=50", nil, http.StatusOK, nil)
		} else if len(ids) > 0 {
			c.rest("get", http.MethodGet, path+"/"+ids[0], nil, http.StatusOK, nil)
		}
	}
	c.await(ctx, path, files)
}

// await asks for verdicts until all are there or the time is over.
func (c *loadClient) await(ctx context.Context, path string, files []*loadFile) {
	for {
		open := map[string]*loadFile{}
		var ask []string
		for _, f := range files {
			if !f.put.IsZero() && !f.judged {
				open[f.declared] = f
				ask = append(ask, f.declared)
			}
		}
		if len(ask) == 0 || !pause(ctx, loadAsk) {
			return
		}
		var answer struct {
			Results []struct {
				SHA1, Status string
				Image        struct {
					State   string
					Reasons []string
				}
			}
		}
		if !c.rest("check", http.MethodPost, path+"/check", map[string]any{"sha1": ask}, http.StatusOK, &answer) {
			return
		}
		for _, r := range answer.Results {
			if f := open[r.SHA1]; f != nil {
				c.read(f, r.Image.State, r.Image.Reasons)
			}
		}
	}
}

// uploadOld brings files one by one as clients of the GraphQL contract do.
func (c *loadClient) uploadOld(ctx context.Context, files []*loadFile) {
	for _, f := range files {
		var had struct{ HasImage *struct{ ID string } }
		if !c.query("hasImage", fmt.Sprintf(`mutation{hasImage(pid:%q,checksum:%q){id state}}`, c.project, f.declared), &had) {
			return
		}
		if had.HasImage != nil {
			c.fault("hasImage", "a new file is there")
		}
		var up struct {
			UploadImageS3 struct {
				URL   string
				Image struct{ ID string }
			}
		}
		if !c.query("uploadImageS3", fmt.Sprintf(`mutation{uploadImageS3(pid:%q,bucket:Local,filename:%q,type:JPEG,checksum:%q){url image{id state}}}`,
			c.project, f.name, f.declared), &up) {
			return
		}
		f.id = up.UploadImageS3.Image.ID
		c.files = append(c.files, f)
		c.think(ctx)
		c.query("startImageUpload", fmt.Sprintf(`mutation{startImageUpload(id:%q){id state}}`, f.id), nil)
		if !c.send("PUT", http.MethodPut, up.UploadImageS3.URL, map[string]string{"Content-Type": "JPEG"}, f.text, http.StatusOK, nil) {
			return
		}
		f.put = time.Now()
		if c.tells {
			c.query("doneImageUpload", fmt.Sprintf(`mutation{doneImageUpload(id:%q){id state}}`, f.id), nil)
		}
		for !f.judged && pause(ctx, loadAsk) {
			var now struct {
				Project struct {
					Image struct {
						State string
						Error []string
					}
				}
			}
			if !c.query("image state", fmt.Sprintf(`query{project(id:%q){image(id:%q){state error}}}`, c.project, f.id), &now) {
				break
			}
			c.read(f, now.Project.Image.State, now.Project.Image.Error)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// read takes what the broker says of a file. A verdict must be the right one.
func (c *loadClient) read(f *loadFile, state string, reasons []string) {
	switch state {
	case "Uploading", "Uploaded":
	case string(f.kind.state):
		f.judged = true
	default:
		f.judged = true
		c.fault("verdict", "a file of kind %s is said to be %s %s", f.kind.name, state, reasons)
	}
}

// think pauses for a random while, most often a short one.
func (c *loadClient) think(ctx context.Context) {
	pause(ctx, min(time.Duration(c.r.ExpFloat64()*float64(loadThink)), 10*loadThink))
}

// wrongBytes are as many other ones.
func wrongBytes(text []byte) []byte {
	out := bytes.Clone(text)
	out[len(out)-1] ^= 1
	return out
}

// rest calls the native API.
func (c *loadClient) rest(kind, method, path string, body any, want int, out any) bool {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			panic(err)
		}
	}
	return c.send(kind, method, c.load.server.url+path, map[string]string{
		"Authorization": "Bearer " + c.load.server.key, "Content-Type": "application/json",
	}, text, want, out)
}

// query posts a GraphQL query as an old client does.
func (c *loadClient) query(kind, query string, data any) bool {
	text, err := json.Marshal(map[string]any{"query": query, "variables": nil})
	if err != nil {
		panic(err)
	}
	var answer struct {
		Data   json.RawMessage
		Errors []struct{ Message string }
	}
	if !c.send(kind, http.MethodPost, c.load.server.url+"/graphql", map[string]string{
		"altitoken": c.load.server.key, "key": "load", "Content-Type": "application/json",
	}, text, http.StatusOK, &answer) {
		return false
	}
	if len(answer.Errors) > 0 {
		c.fault(kind, "%s", answer.Errors[0].Message)
		return false
	}
	if data != nil {
		if err := json.Unmarshal(answer.Data, data); err != nil {
			c.fault(kind, "%v in %s", err, answer.Data)
			return false
		}
	}
	return true
}

// send makes one request, once: who tries again sees no errors. It reports
// whether the answer was the wanted one.
func (c *loadClient) send(kind, method, url string, headers map[string]string, body []byte, want int, out any) bool {
	began := time.Now()
	status, text, err := c.exchange(method, url, headers, body)
	c.took[kind] = append(c.took[kind], time.Since(began))
	switch {
	case err != nil:
		c.fault(kind, "%v", err)
	case status != want:
		c.fault(kind, "%d, not %d: %s", status, want, strings.TrimSpace(string(text)))
	case out != nil:
		if err := json.Unmarshal(text, out); err != nil {
			c.fault(kind, "%v in %s", err, text)
			return false
		}
		return true
	default:
		return true
	}
	return false
}

func (c *loadClient) exchange(method, url string, headers map[string]string, body []byte) (int, []byte, error) {
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, text, err
}

// loadIDs is what differs in one message from time to time.
var loadIDs = regexp.MustCompile(`[0-9A-HJKMNP-TV-Z]{26}|[0-9a-f]{16,}|:\d{4,5}`)

// fault notes what must not happen. Messages that differ in an id alone are one.
func (c *loadClient) fault(kind, format string, args ...any) {
	c.faults[kind+": "+loadIDs.ReplaceAllString(fmt.Sprintf(format, args...), "#")]++
}
