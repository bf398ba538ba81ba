package web_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

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
	store    *postgres.Store
	keys     *broker.Keys
	projects *broker.Projects
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
	store, err := postgres.Open(t.Context(), pgtest.New(t), 8)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := &site{
		store: store, keys: &broker.Keys{Store: store, Now: time.Now}, projects: &broker.Projects{Store: store, Now: time.Now},
	}
	log := slog.New(slog.DiscardHandler)
	o := api.Options{Keys: s.keys, Log: log, CORSOrigins: []string{"*"}, Ready: store.Ping}
	for _, c := range change {
		c(&o)
	}
	e := api.New(o)
	rest.Mount(e, rest.Options{
		Projects: s.projects, Images: &broker.Images{Store: store, Places: broker.NewPlaces(broker.ConfiguredOrder{}), Now: time.Now, Limits: broker.Limits{MaxBatch: 10, MaxObject: 1 << 20}},
		Log: log, Version: "test",
	})
	web.Mount(e, web.Options{Keys: s.keys, Projects: s.projects, Log: log, Tries: tries})
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
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
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
