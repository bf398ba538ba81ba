package web_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/api"
)

func TestSignInByKey(t *testing.T) {
	s := open(t)
	p := s.do(t, http.MethodPost, "/sign-in", url.Values{"key": {"  " + s.secret + "\n"}}) // as it is pasted
	c := p.cookie()
	if p.status != http.StatusSeeOther || c == nil {
		t.Fatalf("%d %v", p.status, p.header)
	}
	if c.Name != "uploadbroker" || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Secure || c.Domain != "" || c.MaxAge < 86400 {
		t.Errorf("the cookie over http: %+v", c)
	}
	if strings.Contains(c.Value, s.secret) || len(c.Value) < 26 {
		t.Errorf("the cookie's value is %s", c.Value)
	}
	home := s.do(t, http.MethodGet, "/", nil, "Cookie", c.Name+"="+c.Value)
	if !strings.Contains(home.body, "ada@example.com") || !strings.Contains(home.body, "Sign out") {
		t.Errorf("%s", home.body)
	}
	if strings.Contains(s.do(t, http.MethodGet, "/", nil).body, "ada@example.com") {
		t.Error("without a cookie the page tells of the owner")
	}
	for _, wrong := range []string{"", "nonsense", strings.ToUpper(s.secret), s.secret + "x", c.Value} {
		p := s.do(t, http.MethodPost, "/sign-in", url.Values{"key": {wrong}})
		if p.status != http.StatusUnauthorized || p.cookie() != nil || !strings.Contains(p.body, `role="alert"`) || !strings.Contains(p.body, "<form") {
			t.Errorf("%q: %d %v", wrong, p.status, p.header)
		}
		if wrong != "" && strings.Contains(p.body, wrong) {
			t.Errorf("the page shows what was typed: %s", wrong)
		}
	}
	// A key in the address is none: addresses are logged.
	if p := s.do(t, http.MethodPost, "/sign-in?key="+s.secret, url.Values{}); p.status != http.StatusUnauthorized {
		t.Errorf("a key in the query: %d", p.status)
	}
	if p := s.do(t, http.MethodGet, "/sign-in?key="+s.secret, nil); p.cookie() != nil || strings.Contains(p.body, s.secret) {
		t.Errorf("GET with a key in the query: %d %s", p.status, p.body)
	}
}

func TestSignInByCode(t *testing.T) {
	s := open(t)
	code, err := s.keys.NewSignInCode(t.Context(), s.key.ID)
	if err != nil {
		t.Fatal(err)
	}
	// A code is no session and no key.
	if p := s.do(t, http.MethodGet, "/", nil, "Cookie", "uploadbroker="+code); strings.Contains(p.body, "ada@example.com") {
		t.Error("a code is taken for a session")
	}
	if p := s.do(t, http.MethodGet, "/v1/me", nil, "Authorization", "Bearer "+code); p.status != http.StatusUnauthorized {
		t.Errorf("a code is taken for a key: %d", p.status)
	}
	p := s.do(t, http.MethodPost, "/sign-in", url.Values{"code": {code}, "key": {""}})
	if p.status != http.StatusSeeOther || p.cookie() == nil {
		t.Fatalf("%d %s", p.status, p.body)
	}
	if home := s.do(t, http.MethodGet, "/", nil, "Cookie", "uploadbroker="+p.cookie().Value); !strings.Contains(home.body, "ada@example.com") {
		t.Error("the code gave no session")
	}
	for _, again := range []string{code, "nonsense", p.cookie().Value} {
		if p := s.do(t, http.MethodPost, "/sign-in", url.Values{"code": {again}}); p.status != http.StatusUnauthorized || p.cookie() != nil || !strings.Contains(p.body, "used or is over") {
			t.Errorf("%q: %d %s", again, p.status, p.body)
		}
	}

	// Of many that bring one code at once, one gets in.
	if code, err = s.keys.NewSignInCode(t.Context(), s.key.ID); err != nil {
		t.Fatal(err)
	}
	statuses := make(chan int)
	for range 8 {
		go func() {
			resp, err := http.DefaultTransport.RoundTrip(formRequest(s.URL+"/sign-in", url.Values{"code": {code}}))
			if err != nil {
				statuses <- 0
				return
			}
			resp.Body.Close()
			statuses <- resp.StatusCode
		}()
	}
	in := 0
	for range 8 {
		switch status := <-statuses; status {
		case http.StatusSeeOther:
			in++
		case http.StatusUnauthorized:
		default:
			t.Errorf("status %d", status)
		}
	}
	if in != 1 {
		t.Errorf("%d got in by one code", in)
	}

	// Its time ends.
	if code, err = s.keys.NewSignInCode(t.Context(), s.key.ID); err != nil {
		t.Fatal(err)
	}
	s.keys.Now = func() time.Time { return time.Now().Add(16 * time.Minute) }
	if p := s.do(t, http.MethodPost, "/sign-in", url.Values{"code": {code}}); p.status != http.StatusUnauthorized {
		t.Errorf("after 16 minutes: %d", p.status)
	}
}

func formRequest(to string, form url.Values) *http.Request {
	r, err := http.NewRequest(http.MethodPost, to, strings.NewReader(form.Encode()))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// TestSignInTries: who guesses must wait, by key and by code alike, even with the
// right one at last; others need not.
func TestSignInTries(t *testing.T) {
	now := time.Now()
	behindProxy := func(o *api.Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }
	s := openThrottled(t, api.NewThrottle(12*time.Second, 5, func() time.Time { return now }), behindProxy)
	try := func(from string, form url.Values) page {
		t.Helper()
		return s.do(t, http.MethodPost, "/sign-in", form, "X-Forwarded-For", from)
	}
	good := url.Values{"key": {s.secret}}
	for n, form := range []url.Values{{"key": {"a"}}, {"code": {"b"}}, {"key": {""}}, {"code": {"c"}}, {"key": {"d"}}} {
		if p := try("203.0.113.7", form); p.status != http.StatusUnauthorized {
			t.Fatalf("try %d: %d %s", n, p.status, p.body)
		}
	}
	p := try("203.0.113.7", good)
	if p.status != http.StatusTooManyRequests || p.header.Get("Retry-After") != "12" || p.cookie() != nil ||
		!strings.Contains(p.body, "try again in 12 s") || !strings.Contains(p.body, "<form") {
		t.Errorf("the sixth try: %d %v %s", p.status, p.header, p.body)
	}
	if p := try("203.0.113.8", good); p.status != http.StatusSeeOther {
		t.Errorf("somebody else: %d %s", p.status, p.body)
	}
	if p := s.do(t, http.MethodGet, "/sign-in", nil, "X-Forwarded-For", "203.0.113.7"); p.status != http.StatusOK {
		t.Errorf("the page itself: %d", p.status)
	}
	now = now.Add(12 * time.Second)
	if p := try("203.0.113.7", good); p.status != http.StatusSeeOther || p.cookie() == nil {
		t.Errorf("after 12 s: %d %s", p.status, p.body)
	}
}

// TestSignInTriesByDefault: nobody has to ask for it.
func TestSignInTriesByDefault(t *testing.T) {
	s := openThrottled(t, nil)
	for range 50 {
		switch p := s.do(t, http.MethodPost, "/sign-in", url.Values{"key": {"wrong"}}); p.status {
		case http.StatusTooManyRequests:
			return
		case http.StatusUnauthorized:
		default:
			t.Fatalf("%d %s", p.status, p.body)
		}
	}
	t.Error("50 keys were tried at once")
}

// TestBrowser walks the way of a person: sign in, look, sign out.
func TestBrowser(t *testing.T) {
	s := open(t)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	get := func(resp *http.Response, err error) (string, string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.Request.URL.Path, string(text)
	}
	if _, body := get(browser.Get(s.URL + "/")); !strings.Contains(body, `href="/sign-in"`) {
		t.Errorf("%s", body)
	}
	path, body := get(browser.PostForm(s.URL+"/sign-in", url.Values{"key": {s.secret}}))
	if path != "/" || !strings.Contains(body, "ada@example.com") {
		t.Errorf("%s: %s", path, body)
	}
	path, body = get(browser.PostForm(s.URL+"/sign-out", nil))
	if path != "/" || strings.Contains(body, "ada@example.com") {
		t.Errorf("%s: %s", path, body)
	}
	if u, _ := url.Parse(s.URL); len(jar.Cookies(u)) != 0 {
		t.Errorf("cookies are left: %v", jar.Cookies(u))
	}
}
