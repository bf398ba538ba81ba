package oss

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

func TestSessionPolicy(t *testing.T) {
	got, err := sessionPolicy("photos", testPrefix)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "session-policy.json", got+"\n")
}

// standSTS is a stand-in for STS that answers as a test tells it, and remembers
// what it was asked.
type standSTS struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []url.Values
	paths  []string
	answer func(q url.Values) (status int, body string)
}

func startSTS(t *testing.T) *standSTS {
	t.Helper()
	s := &standSTS{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		s.mu.Lock()
		s.asked, s.paths = append(s.asked, r.Form), append(s.paths, r.URL.Path)
		answer := s.answer
		s.mu.Unlock()
		status, body := answer(r.Form)
		if status == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *standSTS) set(answer func(q url.Values) (int, string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked, s.paths, s.answer = nil, nil, answer
}

// took is what it was asked since set.
func (s *standSTS) took() []url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *standSTS) sessioner(t *testing.T, creds credentialSource) (storage.Sessioner, *Bucket) {
	t.Helper()
	b := open(t, Options{
		Bucket: "photos", Region: "oss-cn-hangzhou-internal", STSEndpoint: s.URL + "/sts/", RoleARN: testRole,
		AccessKeyID: testID, AccessKeySecret: testSecret,
	})
	if creds != nil {
		b.creds = creds
	}
	return b.Driver().(storage.Sessioner), b
}

func goodAnswer(end string) func(url.Values) (int, string) {
	return func(url.Values) (int, string) {
		return 200, `{"RequestId":"R","AssumedRoleUser":{"Arn":"a","AssumedRoleId":"i"},"Credentials":{"SecurityToken":"TOK+/=","AccessKeyId":"STS.x","AccessKeySecret":"SEC","Expiration":"` + end + `"}}`
	}
}

func TestSessionRequest(t *testing.T) {
	s := startSTS(t)
	sessions, _ := s.sessioner(t, nil)
	for _, c := range []struct {
		prefix, name string
		ttl          time.Duration
		seconds      string
	}{
		{testPrefix, "ub-01ARZ3NDEKTSV4RRFFQ69G5FAV", time.Hour, "3600"},
		{"a/", "ub-a", time.Second, "900"},
		{"_-/", "ub-_-", 90*time.Minute + time.Millisecond, "5400"},
		{strings.Repeat("x", 100) + "/", "ub-" + strings.Repeat("x", 29), 100 * time.Hour, "43200"},
	} {
		s.set(goodAnswer("2030-01-02T03:04:05Z"))
		got, err := sessions.Session(t.Context(), c.prefix, c.ttl)
		if err != nil {
			t.Fatal(err)
		}
		want := broker.CloudSession{
			ID: "STS.x", Secret: "SEC", Token: "TOK+/=", Endpoint: "https://oss-cn-hangzhou.aliyuncs.com", Bucket: "photos",
			Region: "cn-hangzhou", ExpiresAt: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
		}
		if got != want {
			t.Errorf("got %+v", got)
		}
		q := s.took()[0]
		policy, _ := sessionPolicy("photos", c.prefix)
		for name, want := range map[string]string{
			"Action": "AssumeRole", "RoleArn": testRole, "RoleSessionName": c.name, "DurationSeconds": c.seconds,
			"Policy": policy, "AccessKeyId": testID, "SecurityToken": "", "RegionId": "cn-hangzhou", "Format": "JSON",
		} {
			if q.Get(name) != want {
				t.Errorf("%s: %s is %q, want %q", c.prefix, name, q.Get(name), want)
			}
		}
		if path := s.paths[0]; path != "/sts/" {
			t.Errorf("asked at %s", path)
		}
	}
	// With a session of the broker's own its token goes along.
	sessions, _ = s.sessioner(t, fixed(credential{id: "STS.own", secret: "s", token: "OWN+TOKEN"}))
	s.set(goodAnswer("2030-01-02T03:04:05Z"))
	if _, err := sessions.Session(t.Context(), testPrefix, time.Hour); err != nil {
		t.Fatal(err)
	}
	if q := s.took()[0]; q.Get("AccessKeyId") != "STS.own" || q.Get("SecurityToken") != "OWN+TOKEN" {
		t.Errorf("asked by %s with %q", q.Get("AccessKeyId"), q.Get("SecurityToken"))
	}
	// What would reach further is not even asked for.
	s.set(goodAnswer("2030-01-02T03:04:05Z"))
	if _, err := sessions.Session(t.Context(), "*/", time.Hour); err == nil || len(s.took()) != 0 {
		t.Errorf("%v, after %d requests", err, len(s.took()))
	}
}

// TestSessionAsLongAsAllowed: a role that allows less than was asked for gives an
// hour.
func TestSessionAsLongAsAllowed(t *testing.T) {
	s := startSTS(t)
	sessions, b := s.sessioner(t, nil)
	limit := func(most string) func(q url.Values) (int, string) {
		return func(q url.Values) (int, string) {
			if q.Get("DurationSeconds") != most {
				return 400, `{"Code":"InvalidParameter.DurationSeconds","Message":"too long"}`
			}
			return goodAnswer("2030-01-02T03:04:05Z")(q)
		}
	}
	s.set(limit("3600"))
	if _, err := sessions.Session(t.Context(), testPrefix, 3*time.Hour); err != nil || len(s.took()) != 2 {
		t.Errorf("%v after %d requests", err, len(s.took()))
	}
	s.set(limit("1"))
	if _, err := sessions.Session(t.Context(), testPrefix, time.Hour); b.Code(err) != broker.CodeDenied || len(s.took()) != 1 {
		t.Errorf("%v after %d requests", err, len(s.took()))
	}
}

// TestSessionOddAnswers: an answer that is none of STS's is an error with a code,
// no panic, and no secret in it.
func TestSessionOddAnswers(t *testing.T) {
	s := startSTS(t)
	sessions, b := s.sessioner(t, nil)
	for name, c := range map[string]struct {
		status int
		body   string
		code   broker.Code
	}{
		"denied":              {403, `{"Code":"NoPermission","Message":"You are not authorized."}`, broker.CodeDenied},
		"throttled":           {400, `{"Code":"Throttling.User","Message":"Request was denied due to user flow control."}`, broker.CodeTooManyRequests},
		"no role":             {404, `{"Code":"EntityNotExist.Role","Message":"The role not exists: x"}`, broker.CodeDenied},
		"the signed text":     {400, `{"Code":"SignatureDoesNotMatch","Message":"server string to sign is:POST&%2F&SecurityToken%3DSEC"}`, broker.CodeDenied},
		"a number for a code": {400, `{"Code":7,"Message":["SEC"],"AccessDeniedDetail":"x","RequestId":{}}`, broker.CodeInvalid},
		"a page":              {502, `<html>SEC</html>`, broker.CodeUnavailable},
		"a redirect":          {302, ``, broker.CodeUnavailable},
		"nothing":             {200, ``, broker.CodeUnavailable},
		"a page that is fine": {200, `<html>SEC TOK</html>`, broker.CodeUnavailable},
		"half of it":          {200, `{"Credentials":{"AccessKeySecret":"SEC","AccessKey`, broker.CodeUnavailable},
		"no token":            {200, `{"Credentials":{"AccessKeySecret":"SEC","AccessKeyId":"x","Expiration":"2030-01-02T03:04:05Z"}}`, broker.CodeUnavailable},
		"no end":              {200, `{"Credentials":{"AccessKeySecret":"SEC","AccessKeyId":"x","SecurityToken":"TOK"}}`, broker.CodeUnavailable},
		"odd types":           {200, `{"Credentials":[1,{"AccessKeySecret":"SEC"}]}`, broker.CodeUnavailable},
		"a list":              {200, `[]`, broker.CodeUnavailable},
		"very much":           {200, `{"Credentials":{"AccessKeySecret":"` + strings.Repeat("SEC", 100_000) + `"}}`, broker.CodeUnavailable},
		"broken off":          {0, ``, broker.CodeUnavailable},
	} {
		s.set(func(url.Values) (int, string) { return c.status, c.body })
		got, err := sessions.Session(t.Context(), testPrefix, time.Hour)
		if err == nil || b.Code(err) != c.code || got != (broker.CloudSession{}) {
			t.Errorf("%s: %+v, code %q, %v", name, got, b.Code(err), err)
			continue
		}
		for _, secret := range []string{"SEC", "TOK", "Signature=", testID, "http://"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error holds %s: %v", name, secret, err)
			}
		}
		if len(s.took()) != 1 {
			t.Errorf("%s: asked %d times", name, len(s.took()))
		}
	}
}

// TestSessionsAtOnce: the SDK's clients can't be used at once, ours must.
func TestSessionsAtOnce(t *testing.T) {
	s := startSTS(t)
	sessions, _ := s.sessioner(t, nil)
	s.set(func(q url.Values) (int, string) {
		var p policy
		if err := json.Unmarshal([]byte(q.Get("Policy")), &p); err != nil {
			return 400, `{"Code":"InvalidParameter.PolicyGrammar"}`
		}
		_, body := goodAnswer("2030-01-02T03:04:05Z")(q)
		return 200, strings.Replace(body, "TOK+/=", p.Statement[0].Resource[0], 1)
	})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			prefix := fmt.Sprintf("p%d/", i)
			got, err := sessions.Session(context.Background(), prefix, time.Hour)
			if err != nil || got.Token != "acs:oss:*:*:photos/"+prefix+"*" {
				t.Errorf("%s: %s, %v", prefix, got.Token, err)
			}
		})
	}
	wg.Wait()
}
