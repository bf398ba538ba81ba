package ossemu

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sort"
	"strings"
	"testing"
	"time"
)

// rpcCall is a call as it goes over the wire, signed by hand.
func rpcCall(method, secret string, values map[string]string) url.Values {
	v := url.Values{}
	var pairs []string
	for name, value := range values {
		v.Set(name, value)
		pairs = append(pairs, refEscape(name, "")+"="+refEscape(value, ""))
	}
	sort.Strings(pairs)
	v.Set("Signature", refMAC1(secret+"&", method+"&%2F&"+refEscape(strings.Join(pairs, "&"), "")))
	return v
}

// rpcValues are a right call of AssumeRole.
func rpcValues(now time.Time, nonce string) map[string]string {
	return map[string]string{
		"Action": "AssumeRole", "Version": "2015-04-01", "Format": "JSON", "AccessKeyId": testKeyID, "SignatureMethod": "HMAC-SHA1",
		"SignatureVersion": "1.0", "SignatureNonce": nonce, "SignatureType": "", "Timestamp": now.UTC().Format("2006-01-02T15:04:05Z"),
		"RoleArn": testRole, "RoleSessionName": "alice",
	}
}

func ask(a *authority, method, query, form string) (*http.Response, string) {
	r := httptest.NewRequest(method, "/sts/", strings.NewReader(form))
	r.URL.RawQuery = query
	if form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	a.serveSTS(w, r)
	resp := w.Result()
	body, _ := io.ReadAll(resp.Body)
	return resp, string(body)
}

func codeOf(t *testing.T, body string) string {
	t.Helper()
	var e struct{ RequestId, HostId, Code, Message, Recommend string }
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return e.Code
}

// TestRPCForms: parameters in the query, in the form, in both, and the times of
// ali-oss.
func TestRPCForms(t *testing.T) {
	now := time.Date(2026, 11, 21, 1, 4, 18, 0, time.UTC)
	a := testAuthority(t, now)
	call := rpcCall("POST", testSecret, rpcValues(now, "n1")).Encode()
	if resp, body := ask(a, "POST", "", call); resp.StatusCode != 200 {
		t.Errorf("form: %s", body)
	}
	if resp, body := ask(a, "GET", rpcCall("GET", testSecret, rpcValues(now, "n2")).Encode(), ""); resp.StatusCode != 200 {
		t.Errorf("query: %s", body)
	}
	pairs := strings.Split(rpcCall("POST", testSecret, rpcValues(now, "n3")).Encode(), "&")
	if resp, body := ask(a, "POST", strings.Join(pairs[:4], "&"), strings.Join(pairs[4:], "&")); resp.StatusCode != 200 {
		t.Errorf("both: %s", body)
	}
	v := rpcValues(now, "0.7261893")
	v["Timestamp"] = "2026-11-21T01:04:18.794Z"
	if resp, body := ask(a, "POST", "", rpcCall("POST", testSecret, v).Encode()); resp.StatusCode != 200 {
		t.Errorf("milliseconds: %s", body)
	}
	if resp, body := ask(a, "POST", "", call); resp.StatusCode != 400 || codeOf(t, body) != "SignatureNonceUsed" {
		t.Errorf("the same again: %s", body)
	}
	if resp, _ := ask(a, "POST", "", rpcCall("POST", testSecret, rpcValues(now, "n4")).Encode()); resp.Header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		t.Errorf("%v", resp.Header)
	}
}

func TestRPCRefusals(t *testing.T) {
	now := time.Date(2026, 11, 21, 1, 4, 18, 0, time.UTC)
	a := testAuthority(t, now)
	sid, ssecret, stoken := testSession(t, a, time.Hour, "")
	_, _, other := testSession(t, a, time.Hour, "")
	eid, esecret, etoken := testSession(t, testAuthority(t, now.Add(-2*time.Hour)), time.Hour, "")
	set := func(pairs ...string) func(map[string]string) {
		return func(v map[string]string) {
			for i := 0; i < len(pairs); i += 2 {
				if v[pairs[i]] = pairs[i+1]; pairs[i+1] == "" {
					delete(v, pairs[i])
				}
			}
		}
	}
	for i, row := range []struct {
		secret string
		change func(map[string]string)
		status int
		code   string
	}{
		{testSecret, set("Action", ""), 400, "MissingAction"},
		{testSecret, set("Action", "GetFederationToken"), 404, "InvalidAction.NotFound"},
		{testSecret, set("Version", ""), 400, "MissingVersion"},
		{testSecret, set("AccessKeyId", ""), 400, "MissingAccessKeyId"},
		{testSecret, set("Timestamp", ""), 400, "MissingTimestamp"},
		{testSecret, set("SignatureNonce", ""), 400, "MissingSignatureNonce"},
		{testSecret, set("SignatureMethod", "HMAC-SHA256"), 400, "InvalidParameter.SignatureMethod"},
		{testSecret, set("Timestamp", "Sat, 21 Nov 2026 01:04:18 GMT"), 400, "InvalidTimeStamp.Format"},
		{testSecret, set("Timestamp", "2026-11-21T01:04:18+08:00"), 400, "InvalidTimeStamp.Format"},
		{testSecret, set("Timestamp", "2026-11-21T00:49:17Z"), 400, "InvalidTimeStamp.Expired"},
		{testSecret, set("Timestamp", "2026-11-21T01:19:19Z"), 400, "InvalidTimeStamp.Expired"},
		{testSecret, set("Policy", "{}"), 400, "InvalidParameter.PolicyGrammar"},
		{testSecret, set("SecurityToken", stoken), 400, "InvalidSecurityToken.MismatchWithAccessKey"},
		{ssecret, set("AccessKeyId", sid), 400, "MissingSecurityToken"},
		{ssecret, set("AccessKeyId", sid, "SecurityToken", other), 400, "InvalidSecurityToken.MismatchWithAccessKey"},
		{ssecret, set("AccessKeyId", sid, "SecurityToken", "TOKEN"), 400, "InvalidSecurityToken.Malformed"},
		{testSecret, set("AccessKeyId", sid, "SecurityToken", stoken), 400, "SignatureDoesNotMatch"},
		{ssecret, set("AccessKeyId", sid, "SecurityToken", stoken), 403, "NoPermission"},
		{esecret, set("AccessKeyId", eid, "SecurityToken", etoken), 400, "InvalidSecurityToken.Expired"},
	} {
		v := rpcValues(now, fmt.Sprint(i))
		row.change(v)
		resp, body := ask(a, "POST", "", rpcCall("POST", row.secret, v).Encode())
		if code := codeOf(t, body); resp.StatusCode != row.status || code != row.code {
			t.Errorf("row %d: %d %s, not %d %s", i, resp.StatusCode, code, row.status, row.code)
		}
	}
	// A policy that is there and empty is not none, which would be the full right.
	v := rpcValues(now, "empty")
	v["Policy"] = ""
	if _, body := ask(a, "POST", "", rpcCall("POST", testSecret, v).Encode()); codeOf(t, body) != "InvalidParameter.PolicyGrammar" {
		t.Errorf("an empty policy: %s", body)
	}
	good := rpcCall("POST", testSecret, rpcValues(now, "wire"))
	for name, call := range map[string][2]string{
		"twice":          {"", good.Encode() + "&RoleArn=" + url.QueryEscape(testRole)},
		"not decodable":  {"", good.Encode() + "&a=%zz"},
		"without end":    {"", good.Encode() + "&a=" + strings.Repeat("a", 70<<10)},
		"in both places": {"Format=JSON", good.Encode()},
	} {
		if resp, body := ask(a, "POST", call[0], call[1]); resp.StatusCode != 400 || !strings.Contains(body, "InvalidParameter") {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
	}
	if resp, body := ask(a, "PUT", good.Encode(), ""); resp.StatusCode != 400 || codeOfAny(body) != "UnsupportedHTTPMethod" {
		t.Errorf("PUT: %d %s", resp.StatusCode, body)
	}
	// None of these used the nonce up.
	if resp, body := ask(a, "POST", "", good.Encode()); resp.StatusCode != 200 {
		t.Errorf("the good one: %s", body)
	}
}

func codeOfAny(body string) string {
	var e struct{ Code string }
	_ = xml.Unmarshal([]byte(body), &e)
	return e.Code
}

// TestRPCTampering changes every parameter of a right call: none may pass.
func TestRPCTampering(t *testing.T) {
	now := time.Date(2026, 11, 21, 1, 4, 18, 0, time.UTC)
	a := testAuthority(t, now)
	values := rpcValues(now, "n")
	values["Policy"] = statementJSON(`{"Effect":"Allow","Action":"*","Resource":"acs:oss:*:*:b/p/*"}`)
	values["DurationSeconds"] = "900"
	good := rpcCall("POST", testSecret, values)
	refused := func(what, method string, v url.Values) {
		t.Helper()
		query, form := "", v.Encode()
		if method == "GET" {
			query, form = form, ""
		}
		if resp, body := ask(a, method, query, form); resp.StatusCode == 200 {
			t.Errorf("%s: %s", what, body)
		}
	}
	refused("another method", "GET", good)
	for name := range good {
		v := url.Values{}
		for n := range good {
			v.Set(n, good.Get(n))
		}
		v.Set(name, good.Get(name)+"0")
		refused(name+" changed", "POST", v)
		v.Del(name)
		refused(name+" removed", "POST", v)
	}
	v, _ := url.ParseQuery(good.Encode())
	v.Set("ExternalId", "x")
	refused("a further parameter", "POST", v)
	if resp, body := ask(a, "POST", "", good.Encode()); resp.StatusCode != 200 {
		t.Errorf("the good one: %s", body)
	}
}

// TestXMLAnswers: XML is what STS speaks when nothing was asked for.
func TestXMLAnswers(t *testing.T) {
	now := time.Date(2026, 11, 21, 1, 4, 18, 0, time.UTC)
	a := testAuthority(t, now)
	for i, format := range []string{"", "XML", "xml"} {
		v := rpcValues(now, fmt.Sprint(i))
		if v["Format"] = format; format == "" {
			delete(v, "Format")
		}
		resp, body := ask(a, "POST", "", rpcCall("POST", testSecret, v).Encode())
		var got struct {
			XMLName         xml.Name `xml:"AssumeRoleResponse"`
			RequestId       string
			AssumedRoleUser struct{ AssumedRoleId, Arn string }
			Credentials     struct{ AccessKeyId, AccessKeySecret, SecurityToken, Expiration string }
		}
		if err := xml.Unmarshal([]byte(body), &got); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%v: %s", err, body)
		}
		if c := got.Credentials; got.RequestId == "" || c.AccessKeyId == "" || c.AccessKeySecret == "" || c.SecurityToken == "" || c.Expiration != "2026-11-21T02:04:18Z" || got.AssumedRoleUser.Arn != testRole+"/alice" {
			t.Errorf("%+v", got)
		}
		resp, body = ask(a, "POST", "", rpcCall("POST", "wrong", v).Encode())
		var e struct {
			XMLName                                     xml.Name `xml:"Error"`
			RequestId, HostId, Code, Message, Recommend string
		}
		if err := xml.Unmarshal([]byte(body), &e); err != nil || resp.StatusCode != 400 || e.Code != "SignatureDoesNotMatch" || e.RequestId == "" || e.HostId == "" {
			t.Errorf("%v: %s", err, body)
		}
	}
	v := rpcValues(now, "yaml")
	v["Format"] = "YAML"
	if resp, body := ask(a, "POST", "", rpcCall("POST", testSecret, v).Encode()); resp.StatusCode != 400 || codeOfAny(body) != "InvalidParameter.Format" {
		t.Errorf("%s", body)
	}
}

// FuzzSTS: no call makes STS panic, and none is answered without the secret.
func FuzzSTS(f *testing.F) {
	now := time.Date(2026, 11, 21, 1, 4, 18, 0, time.UTC)
	a := testAuthority(f, now, func(o *Options) { o.AccessKeySecret = "of this run: " + newRequestID() })
	call := rpcCall("POST", "guess", rpcValues(now, "n")).Encode()
	f.Add("POST", call, "")
	f.Add("POST", "", call)
	f.Add("GET", call, "")
	f.Add("POST", "Format=JSON&Action=AssumeRole", "a=%zz&&=")
	f.Fuzz(func(t *testing.T, method, query, form string) {
		r := httptest.NewRequest("POST", "/", strings.NewReader(form))
		r.Method, r.URL.RawQuery = method, query
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		a.serveSTS(w, r)
		if w.Code < 400 || w.Code >= 500 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	})
}
