package graphql

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// failing is an image store one of whose calls fails.
type failing struct {
	broker.ImageStore
	err   error
	panic any
}

func (s *failing) BySHA1(ctx context.Context, pid string, digests []broker.SHA1) ([]broker.Image, error) {
	if s.panic != nil {
		panic(s.panic)
	}
	if s.err != nil {
		return nil, s.err
	}
	return s.ImageStore.BySHA1(ctx, pid, digests)
}

// cause holds what no caller may see.
var errCause = errors.New("pq: password=hunter2 at 10.1.2.3")

// TestEveryCode: every broker.Code is told in extensions.code, with its message,
// its place, and nothing of its cause; the status tells what is worth trying again.
func TestEveryCode(t *testing.T) {
	store := &failing{}
	f := open(t, func(s setup) { store.ImageStore, s.face.Images.Store = s.face.Images.Store, store })
	pid := f.newProject(t, "North face")
	has := `h:hasImage(pid:"` + pid + `",checksum:"` + sha1Of(nil) + `"){id}`
	for _, code := range broker.AllCodes() {
		store.err = fmt.Errorf("while asking: %w", &broker.Error{Code: code, Msg: "what to do", Err: errCause, RetryAfter: 1500 * time.Millisecond})
		r := f.ask(t, f.secret, `mutation{`+has+`}`)
		wantStatus := map[broker.Code]int{broker.CodeUnavailable: 503, broker.CodeTooManyRequests: 429}[code]
		if wantStatus == 0 {
			wantStatus = 200
		}
		if r.status != wantStatus || r.code() != code || r.json(t, "errors.0.path") != `["h"]` || r.json(t, "data") != `{"h":null}` {
			t.Errorf("%s: %d %s", code, r.status, r.body)
		}
		if wantStatus != 200 && r.header.Get("Retry-After") != "2" || r.json(t, "errors.0.extensions.retry_after") != "2" {
			t.Errorf("%s: Retry-After %q, %s", code, r.header.Get("Retry-After"), r.body)
		}
		if says := r.text(t, "errors.0.message"); (says == "what to do") == (code == broker.CodeInternal) || strings.Contains(r.body, "hunter2") || strings.Contains(r.body, "while asking") {
			t.Errorf("%s says %s", code, r.body)
		}
	}
	// Beside others, 429 is one error of several; unavailable is always worth a retry.
	store.err = &broker.Error{Code: broker.CodeTooManyRequests, Msg: "slow down"}
	if r := f.ask(t, f.secret, `mutation{`+has+` x:removeProject(id:"x"){id}}`); r.status != http.StatusOK {
		t.Errorf("one of two: %d %s", r.status, r.body)
	}
	store.err = &broker.Error{Code: broker.CodeUnavailable, Msg: "away"}
	if r := f.ask(t, f.secret, `mutation{x:removeProject(id:"x"){id} `+has+`}`); r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") != "1" {
		t.Errorf("one of two: %d %s", r.status, r.body)
	}
}

// TestFaultsOfOurs: an error without a code and a panic are internal, say nothing
// of themselves, and are in the log under the request's id.
func TestFaultsOfOurs(t *testing.T) {
	store := &failing{}
	f := open(t, func(s setup) { store.ImageStore, s.face.Images.Store = s.face.Images.Store, store })
	pid := f.newProject(t, "North face")
	for name, set := range map[string]func(){
		"an error": func() { store.err, store.panic = errCause, nil },
		"a panic":  func() { store.err, store.panic = nil, "password=hunter2" },
	} {
		set()
		id := strings.ReplaceAll(name, " ", "-")
		r := f.send(t, http.MethodPost, "/graphql", `{"query":"mutation{hasImage(pid:\"`+pid+`\",checksum:\"`+sha1Of(nil)+`\"){id} createProject(name:\"after\"){name}}"}`,
			"altitoken", f.secret, "X-Request-Id", id)
		if r.status != http.StatusOK || r.code() != broker.CodeInternal || strings.Contains(r.body, "hunter2") || r.text(t, "data.createProject.name") != "after" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
		found := false
		for line := range strings.Lines(f.log.String()) {
			found = found || strings.Contains(line, "request_id="+id) && strings.Contains(line, "hunter2")
		}
		if !found {
			t.Errorf("%s is not in the log:\n%s", name, f.log)
		}
	}
	if !strings.Contains(f.log.String(), "errors_test.go") {
		t.Errorf("the log does not say where it panicked")
	}
}

// away is a key store that can't be asked.
type away struct{ broker.KeyStore }

func (away) KeyByHash(context.Context, [32]byte) (broker.Caller, error) {
	return broker.Caller{}, &broker.Error{Code: broker.CodeUnavailable, Msg: "the database does not answer", Err: errCause}
}

// TestDatabaseAway: that a key can't be checked is not that it is wrong: my is an
// error then, for null would tell the client to log in again; what needs no key
// answers.
func TestDatabaseAway(t *testing.T) {
	f := open(t)
	f.keys.Store = away{f.keys.Store}
	for _, query := range append(private(broker.NewID(time.Now())), `{my{self{email}}}`, `{getGeoIPInfo{nearestBuckets{bucket}}}`) {
		r := f.ask(t, f.secret, query)
		if r.status != http.StatusServiceUnavailable || r.code() != broker.CodeUnavailable || strings.Contains(r.body, "hunter2") {
			t.Errorf("%s: %d %s", query, r.status, r.body)
		}
	}
	for _, query := range []string{`{support{systemMode}}`, `{bank{coinsToMoney}}`, `{versions{api}}`, `{__typename}`} {
		if r := f.ask(t, f.secret, query); r.status != http.StatusOK || r.code() != "" {
			t.Errorf("%s: %d %s", query, r.status, r.body)
		}
	}
}

// TestArgumentsThatFitOnlyTheSchema: what passes the validation and still can't be
// read is the caller's fault, not ours.
func TestArgumentsThatFitOnlyTheSchema(t *testing.T) {
	f := open(t)
	pid := f.newProject(t, "North face")
	for _, query := range []string{
		`{project(id:"` + pid + `"){allImages(first:99999999999999999999){totalCount}}}`,
		`{bank{coinsToMoney(coins:1e999)}}`,
	} {
		f.refused(t, broker.CodeInvalid, query)
	}
	for query, value := range map[string]any{
		`query($v:Int){project(id:"` + pid + `"){allImages(first:$v){totalCount}}}`:                                  1.5,
		`query($v:Int ){project(id:"` + pid + `"){allImages(first:$v){totalCount}}}`:                                 "x",
		`query($v:IMAGE_FILTER){project(id:"` + pid + `"){allImages(filter:$v){totalCount}}}`:                        "ready",
		`query($v:ID!){project(id:$v){id}}`:                                                                          map[string]any{"a": 1},
		`query($v:ID! ){project(id:$v){id}}`:                                                                         nil,
		`query($v:Int ){search{projectID(limit:$v){id}}}`:                                                            []int{1, 2},
		`query($v:String!){project(id:$v){id}}`:                                                                      "x",
		`mutation($v:ReconstructionOptions){startReconstructionWithError(id:"` + pid + `",options:$v){error{code}}}`: map[string]any{"unknown": 1},
	} {
		r := f.askWith(t, f.secret, query, map[string]any{"v": value})
		if r.status != http.StatusOK || r.code() != broker.CodeInvalid {
			t.Errorf("%s with %v: %d %s", query, value, r.status, r.body)
		}
	}
	if strings.Contains(f.log.String(), "request failed") {
		t.Errorf("a caller's fault is in the log as ours:\n%s", f.log)
	}
}

// linker counts how many links are made at once.
type linker struct {
	broker.Linker
	now, most chan int
}

func (l linker) Link(ctx context.Context, key, etag, name string, ttl time.Duration) (string, error) {
	n := <-l.now + 1
	l.now <- n
	m := <-l.most
	l.most <- max(m, n)
	defer func() { l.now <- <-l.now - 1 }()
	if strings.HasSuffix(name, "7.jpg") {
		return "", broker.Errorf(broker.CodeDenied, "the bucket refused")
	}
	return "/x?" + name, nil
}

// TestLinks: url is a link for Ready images, made only when it is asked for, a few
// at once; one that fails is an error of its own place.
func TestLinks(t *testing.T) {
	l := linker{now: make(chan int, 1), most: make(chan int, 1)}
	l.now <- 0
	l.most <- 0
	f := open(t)
	f.places[0].Linker = l
	f.images.Places.Replace(broker.ConfiguredOrder{}, f.places...)
	pid := f.newProject(t, "North face")
	for i := range 60 {
		img, _, err := f.images.RegisterPlain(t.Context(), f.by, pid, broker.CloudS3, "Local", netip.Addr{},
			broker.PlainEntry{Name: fmt.Sprint(i, ".jpg"), SHA1: sha1Of([]byte{byte(i)})}, broker.PlainWant{Image: true})
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			f.judge(t, img.ID)
		}
	}
	f.ok(t, `{project(id:"`+pid+`"){allImages{edges{node{id state}}}}}`)
	if m := <-l.most; m != 0 {
		t.Errorf("%d links were made for nobody", m)
	}
	l.most <- 0
	r := f.ask(t, f.secret, `{project(id:"`+pid+`"){allImages{edges{node{name url}}}}}`)
	if r.at(t, "data.project.allImages.edges.0.node.url") != nil || r.text(t, "data.project.allImages.edges.1.node.url") != f.URL+"/x?1.jpg" {
		t.Errorf("%.300s", r.body)
	}
	if strings.Count(r.body, `"code":"denied"`) != 6 || r.at(t, "data.project.allImages.edges.7.node.url") != nil {
		t.Errorf("%.1000s", r.body)
	}
	if m := <-l.most; m < 1 || m > linksAtOnce {
		t.Errorf("%d links were made at once", m)
	}
}
