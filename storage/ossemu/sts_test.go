package ossemu

import (
	stderrors "errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/sts"
	"github.com/aliyun/aliyun-oss-go-sdk/oss"
)

// stsServer serves STS at "/", and at the paths that the emulator has for it.
func stsServer(t *testing.T, a *authority) (address string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(a.serveSTS))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func assumeRequest(address string) *sts.AssumeRoleRequest {
	r := sts.CreateAssumeRoleRequest()
	r.Scheme, r.Domain = "http", address
	r.RoleArn, r.RoleSessionName = testRole, "up-pid123"
	return r
}

func stsClient(t *testing.T, id, secret string) *sts.Client {
	t.Helper()
	c, err := sts.NewClientWithAccessKey("cn-hangzhou", id, secret)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serverError is what the SDK makes of a refusal.
func serverError(t *testing.T, err error) *errors.ServerError {
	t.Helper()
	var e *errors.ServerError
	if !stderrors.As(err, &e) {
		t.Fatalf("%T: %v", err, err)
	}
	return e
}

// TestAssumeRole: alibaba-cloud-sdk-go gets a session, with which
// aliyun-oss-go-sdk signs, and which is what it was asked to be.
func TestAssumeRole(t *testing.T) {
	a := testAuthority(t, time.Time{})
	address := stsServer(t, a)
	client := stsClient(t, testKeyID, testSecret)
	document := `{"Version":"1","Statement":[{"Effect":"Allow","Action":["oss:PutObject"],"Resource":["acs:oss:*:*:mybucket/pid/*"]}]}`
	for name, change := range map[string]func(*sts.AssumeRoleRequest){
		"POST":            func(r *sts.AssumeRoleRequest) {},
		"GET":             func(r *sts.AssumeRoleRequest) { r.Method = requests.GET },
		"at /sts":         func(r *sts.AssumeRoleRequest) { r.Domain += "/sts" },
		"for 15 minutes":  func(r *sts.AssumeRoleRequest) { r.DurationSeconds = "900" },
		"for an hour":     func(r *sts.AssumeRoleRequest) { r.DurationSeconds = "3600" },
		"awkward policy":  func(r *sts.AssumeRoleRequest) { r.Policy = strings.Replace(document, "pid", "中 +~*'&=", 1) },
		"longest session": func(r *sts.AssumeRoleRequest) { r.RoleSessionName = strings.Repeat("a", 64) },
		"every character": func(r *sts.AssumeRoleRequest) { r.RoleSessionName = "aZ09.@-_" },
	} {
		t.Run(name, func(t *testing.T) {
			r := assumeRequest(address)
			r.Policy = document
			change(r)
			before := time.Now()
			got, err := client.AssumeRole(r)
			if err != nil {
				t.Fatal(err)
			}
			c := got.Credentials
			want := time.Hour
			if r.DurationSeconds == "900" {
				want = 15 * time.Minute
			}
			expires, err := time.Parse("2006-01-02T15:04:05Z", c.Expiration)
			if err != nil || expires.Sub(before) > want+time.Minute || expires.Sub(before) < want-2*time.Second {
				t.Errorf("expires at %s: %v", c.Expiration, err)
			}
			if !strings.HasPrefix(c.AccessKeyId, "STS.") || c.AccessKeySecret == "" || got.RequestId == "" {
				t.Errorf("%+v", got)
			}
			if u := got.AssumedRoleUser; u.Arn != testRole+"/"+r.RoleSessionName || !strings.HasSuffix(u.AssumedRoleId, ":"+r.RoleSessionName) {
				t.Errorf("%+v", u)
			}
			s, err := a.openToken(c.SecurityToken)
			if err != nil || s.name != r.RoleSessionName || s.keyID != c.AccessKeyId {
				t.Fatalf("%+v, %v", s, err)
			}
			url, requests := verifier(t, a)
			user, err := oss.New(url, c.AccessKeyId, c.AccessKeySecret, oss.SecurityToken(c.SecurityToken))
			if err != nil {
				t.Fatal(err)
			}
			bucket, err := user.Bucket("mybucket")
			if err != nil {
				t.Fatal(err)
			}
			if err := bucket.PutObject("pid/a.jpg", strings.NewReader("hello")); err != nil {
				t.Fatal(err)
			}
			id := one(t, requests).id
			if name == "awkward policy" {
				if f := id.may("oss:PutObject", "acs:oss:*:*:mybucket/中 +~xx'&=/a"); f != nil {
					t.Error(f)
				}
				return
			}
			if f := id.may("oss:PutObject", "acs:oss:*:*:mybucket/pid/a.jpg"); f != nil {
				t.Error(f)
			}
			if f := id.may("oss:PutObject", "acs:oss:*:*:mybucket/other/a.jpg"); f == nil {
				t.Error("it may write elsewhere")
			}
		})
	}
	r := assumeRequest(address)
	got, err := client.AssumeRole(r)
	if err != nil {
		t.Fatal(err)
	}
	s, err := a.openToken(got.Credentials.SecurityToken)
	if err != nil || !s.allows("oss:DeleteObject", "acs:oss:*:*:any/thing") {
		t.Errorf("without a policy it is the role's full right: %v", err)
	}
}

// TestAssumeRoleRefusals: what the SDK is told of each wrong call.
func TestAssumeRoleRefusals(t *testing.T) {
	now := time.Now().UTC()
	a := testAuthority(t, now)
	address := stsServer(t, a)
	sid, ssecret, stoken := testSession(t, a, time.Hour, "")
	policy := func(p string) func(*sts.AssumeRoleRequest) { return func(r *sts.AssumeRoleRequest) { r.Policy = p } }
	seconds := func(s string) func(*sts.AssumeRoleRequest) {
		return func(r *sts.AssumeRoleRequest) { r.DurationSeconds = requests.Integer(s) }
	}
	session := func(s string) func(*sts.AssumeRoleRequest) {
		return func(r *sts.AssumeRoleRequest) { r.RoleSessionName = s }
	}
	role := func(s string) func(*sts.AssumeRoleRequest) { return func(r *sts.AssumeRoleRequest) { r.RoleArn = s } }
	none := func(*sts.AssumeRoleRequest) {}
	for _, row := range []struct {
		name       string
		id, secret string
		change     func(*sts.AssumeRoleRequest)
		status     int
		code       string
	}{
		{"unknown key", "LTAInobody", testSecret, none, 404, "InvalidAccessKeyId.NotFound"},
		{"wrong secret", testKeyID, "wrong", none, 400, "SignatureDoesNotMatch"},
		{"a session without its token", sid, ssecret, none, 400, "MissingSecurityToken"},
		{"another version", testKeyID, testSecret, func(r *sts.AssumeRoleRequest) {
			r.InitWithApiInfo("Sts", "2014-01-01", "AssumeRole", "", "")
			r.Scheme, r.Domain = "http", address
		}, 404, "InvalidAction.NotFound"},
		{"no role", testKeyID, testSecret, role(""), 400, "MissingRoleArn"},
		{"no name", testKeyID, testSecret, session(""), 400, "MissingRoleSessionName"},
		{"another role", testKeyID, testSecret, role(testRole + "2"), 404, "EntityNotExist.Role"},
		{"another account", testKeyID, testSecret, role("acs:ram::1:role/uploader"), 404, "EntityNotExist.Role"},
		{"no role's name", testKeyID, testSecret, role("uploader"), 400, "InvalidParameter.RoleArn"},
		{"a name of one", testKeyID, testSecret, session("a"), 400, "InvalidParameter.RoleSessionName"},
		{"a name of 65", testKeyID, testSecret, session(strings.Repeat("a", 65)), 400, "InvalidParameter.RoleSessionName"},
		{"a slash in the name", testKeyID, testSecret, session("a/b"), 400, "InvalidParameter.RoleSessionName"},
		{"a line end in the name", testKeyID, testSecret, session("ab\n"), 400, "InvalidParameter.RoleSessionName"},
		{"too short", testKeyID, testSecret, seconds("899"), 400, "InvalidParameter.DurationSeconds"},
		{"too long", testKeyID, testSecret, seconds("3601"), 400, "InvalidParameter.DurationSeconds"},
		{"no number", testKeyID, testSecret, seconds("1h"), 400, "InvalidParameter.DurationSeconds"},
		{"a very large number", testKeyID, testSecret, seconds("18446744073709552516"), 400, "InvalidParameter.DurationSeconds"},
		{"no policy's grammar", testKeyID, testSecret, policy("{}"), 400, "InvalidParameter.PolicyGrammar"},
		{"a condition", testKeyID, testSecret, policy(statementJSON(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{}}`)), 400, "InvalidParameter.PolicyGrammar"},
		{"a long policy", testKeyID, testSecret, policy(statementJSON(`{"Effect":"Allow","Action":"*","Resource":"acs:oss:*:*:` + strings.Repeat("a", 2048) + `"}`)), 400, "InvalidParameter.PolicyGrammar"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := assumeRequest(address)
			row.change(r)
			_, err := stsClient(t, row.id, row.secret).AssumeRole(r)
			e := serverError(t, err)
			if e.HttpStatus() != row.status || e.ErrorCode() != row.code {
				t.Errorf("%d %s: %s", e.HttpStatus(), e.ErrorCode(), e.Message())
			}
			if e.RequestId() == "" || e.Message() == "" || e.Recommend() == "" || e.HostId() == "" {
				t.Errorf("%v", e)
			}
			if row.name == "wrong secret" && !strings.HasPrefix(e.Recommend(), "InvalidAccessKeySecret") {
				t.Errorf("the SDK found another string to sign than its own: %s\n%s", e.Recommend(), e.Message())
			}
		})
	}
	t.Run("a session", func(t *testing.T) {
		c, err := sts.NewClientWithStsToken("cn-hangzhou", sid, ssecret, stoken)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.AssumeRole(assumeRequest(address))
		if e := serverError(t, err); e.HttpStatus() != 403 || e.ErrorCode() != "NoPermission" {
			t.Errorf("%v", e)
		}
	})
}

func TestAssumeRoleIsThrottled(t *testing.T) {
	var offset atomic.Int64
	start := time.Now()
	a := testAuthority(t, time.Time{}, func(o *Options) {
		o.STSLimit = 3
		o.Now = func() time.Time { return start.Add(time.Duration(offset.Load())) }
	})
	address := stsServer(t, a)
	client := stsClient(t, testKeyID, testSecret)
	for range 3 {
		if _, err := client.AssumeRole(assumeRequest(address)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := client.AssumeRole(assumeRequest(address))
	if e := serverError(t, err); e.HttpStatus() != 400 || e.ErrorCode() != "Throttling.User" || !strings.HasPrefix(e.Message(), "Request was denied due to user flow control") {
		t.Errorf("%v", e)
	}
	offset.Store(int64(time.Second))
	if _, err := client.AssumeRole(assumeRequest(address)); err != nil {
		t.Errorf("a second later: %v", err)
	}
}

func TestGetCallerIdentity(t *testing.T) {
	a := testAuthority(t, time.Time{})
	address := stsServer(t, a)
	ask := func(c *sts.Client, err error) *sts.GetCallerIdentityResponse {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		r := sts.CreateGetCallerIdentityRequest()
		r.Scheme, r.Domain = "http", address
		got, err := c.GetCallerIdentity(r)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := ask(stsClient(t, testKeyID, testSecret), nil); got.IdentityType != "RAMUser" || got.AccountId != "123456789012" || got.Arn != "acs:ram::123456789012:user/LTAItest" {
		t.Errorf("%+v", got)
	}
	id, secret, token := testSession(t, a, time.Hour, "")
	if got := ask(sts.NewClientWithStsToken("cn-hangzhou", id, secret, token)); got.IdentityType != "AssumedRoleUser" || got.Arn != "acs:ram::123456789012:assumed-role/uploader/tester" || got.RoleId == "" {
		t.Errorf("%+v", got)
	}
}
