package web_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/api/rest"
	"github.com/uploadbroker/uploadbroker/api/web"
	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/broker/postgres/privatepg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// site is the page with the API beside it, over a schema of its own.
type site struct {
	*httptest.Server
	dsn      string
	store    *postgres.Store
	keys     *broker.Keys
	projects *broker.Projects
	tasks    *broker.Tasks
	ended    chan struct{} // close it to end the program
	owner    broker.Owner
	key      broker.Key
	secret   string
}

// open lets everybody sign in as often as the test likes.
func open(t *testing.T, change ...func(*api.Options)) *site {
	t.Helper()
	return openThrottled(t, api.NewThrottle(time.Nanosecond, 1<<20, time.Now), change...)
}

func openThrottled(t *testing.T, tries *api.Throttle, change ...func(*api.Options)) *site {
	t.Helper()
	dsn := pgtest.New(t)
	store, err := postgres.Open(t.Context(), dsn, 8)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := &site{
		dsn: dsn, store: store, keys: &broker.Keys{Store: store, Now: time.Now}, projects: &broker.Projects{Store: store, Now: time.Now},
	}
	log := slog.New(slog.DiscardHandler)
	o := api.Options{Keys: s.keys, Log: log, CORSOrigins: []string{"*"}, Ready: store.Ping}
	for _, c := range change {
		c(&o)
	}
	e := api.New(o)
	places := broker.NewPlaces(broker.ConfiguredOrder{}, broker.Bucket{Symbol: "Cloud", Cloud: broker.CloudS3, Linker: linker{}})
	images := &broker.Images{Store: store, Places: places, Now: time.Now, Limits: broker.Limits{MaxBatch: 10, MaxObject: 1 << 20}}
	s.tasks = &broker.Tasks{Store: store, Engine: engine{}, Places: places, Log: log, Now: time.Now}
	tags := &broker.Tags{Store: store, Images: images, Policy: broker.TagPolicy{Public: []string{"open"}}, Log: log, Now: time.Now}
	rest.Mount(e, rest.Options{
		Projects: s.projects, Images: images, Zips: &broker.Zips{Store: store, Now: time.Now}, Tasks: s.tasks, Keys: s.keys, Tags: tags,
		Log: log, Version: "test",
	})
	s.ended = make(chan struct{})
	web.Mount(e, web.Options{
		Keys: s.keys, Projects: s.projects, Places: places, Live: &broker.Live{Store: store, Now: time.Now}, Log: log, Tries: tries,
		Tags:  tags,
		Image: func(i broker.Image) any { return rest.ImageOf(i) },
		Task:  func(ctx context.Context, t broker.Task) any { return rest.TaskOf(ctx, t) },
		Poll:  10 * time.Millisecond, Ping: 50 * time.Millisecond, Done: s.ended,
	})
	s.Server = httptest.NewUnstartedServer(nil)
	s.Config = api.Server(e, o)
	s.Start()
	t.Cleanup(s.Close)
	if s.owner, err = s.keys.CreateOwner(t.Context(), "ada@example.com", "Ada"); err != nil {
		t.Fatal(err)
	}
	s.key, s.secret = s.newKey(t, broker.NewKey{Scopes: broker.AllScopes()})
	return s
}

// linker is a bucket whose links lead to an origin of its own.
type linker struct{}

func (linker) Link(context.Context, string, string, string, time.Duration) (string, error) {
	return "https://photos.bucket.example/a?signature=x", nil
}

func (linker) LinkOwn(context.Context, string, time.Duration) (string, error) {
	return "https://photos.bucket.example/a?signature=x", nil
}

// engine takes every task and does nothing.
type engine struct{ broker.Engine }

func (engine) Kind() broker.EngineKind { return "nodeodm" }

func (s *site) newKey(t *testing.T, k broker.NewKey) (broker.Key, string) {
	t.Helper()
	key, secret, err := s.keys.Create(t.Context(), s.owner, k)
	if err != nil {
		t.Fatal(err)
	}
	return key, secret
}

func (s *site) caller() broker.Caller { return broker.Caller{Owner: s.owner, Key: s.key} }

// page is what a browser got.
type page struct {
	status  int
	header  http.Header
	cookies []*http.Cookie
	body    string
}

// cookie is the session's cookie that an answer sets; nil when there is none.
func (p page) cookie() *http.Cookie {
	for _, c := range p.cookies {
		if strings.HasSuffix(c.Name, "uploadbroker") {
			return c
		}
	}
	return nil
}

// do sends a request without following redirects. form is nil for GET; headers
// are pairs.
func (s *site) do(t *testing.T, method, path string, form url.Values, headers ...string) page {
	t.Helper()
	if form == nil {
		return s.send(t, method, path, "", headers...)
	}
	return s.send(t, method, path, form.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)...)
}

// send is do with a body as it is; JSON unless a header says otherwise.
func (s *site) send(t *testing.T, method, path, body string, headers ...string) page {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body == "" {
		r.Body = nil
	} else {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		switch headers[i] {
		case "Host":
			r.Host = headers[i+1]
			continue
		case "Content-Type":
			r.Header.Del("Content-Type")
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return page{resp.StatusCode, resp.Header, resp.Cookies(), string(text)}
}

// signIn gives the Cookie header of a fresh session.
func (s *site) signIn(t *testing.T, secret string) string {
	t.Helper()
	p := s.do(t, http.MethodPost, "/sign-in", url.Values{"key": {secret}})
	c := p.cookie()
	if p.status != http.StatusSeeOther || p.header.Get("Location") != "/" || c == nil {
		t.Fatalf("%d %v %s", p.status, p.header, p.body)
	}
	return c.Name + "=" + c.Value
}

// read reads what the page asks for.
func (s *site) read(t *testing.T, path string, into any, headers ...string) {
	t.Helper()
	p := s.do(t, http.MethodGet, path, nil, headers...)
	if p.status != http.StatusOK {
		t.Fatalf("%s: %d %s", path, p.status, p.body)
	}
	if err := json.Unmarshal([]byte(p.body), into); err != nil {
		t.Fatalf("%s: %v: %s", path, err, p.body)
	}
}

// finish gives a task a result and its end.
func (s *site) finish(t *testing.T, taskID string) {
	t.Helper()
	db, err := pgx.Connect(t.Context(), s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.Background())
	// At once, as a worker does: who watches may look at any moment.
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		`UPDATE tasks SET state = 'Done', stage = '', ended_at = now(), next_at = NULL, progress = 100 WHERE id = $1`,
		`INSERT INTO task_results VALUES ($1, 'all.zip', 'Cloud', 'e', 3, now())`,
	} {
		if _, err := tx.Exec(t.Context(), q, taskID); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}
