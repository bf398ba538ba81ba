package graphql

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// public is what must answer with the header key alone.
var public = map[string]string{
	`{support{systemMode supportedCloud(kind:image) endpoints{api web}}}`:                                            "data.support.systemMode",
	`{support{errorCodeInfo(code:NO_ENGINE){code description solution}}}`:                                            "data.support.errorCodeInfo.code",
	`{getGeoIPInfo{id nearestBuckets{bucket display cloud} nearestMetaBuckets{bucket} nearestModelBuckets{bucket}}}`: "data.getGeoIPInfo.nearestBuckets.0.bucket",
	`{bank{coinsToMoney(coins:3.5,currency:USD) moneyToCoins(money:1)}}`:                                             "data.bank.coinsToMoney",
	`{versions{api}}`:                                    "data.versions.api",
	`{__schema{queryType{name} types{name}}}`:            "data.__schema.queryType.name",
	`{__type(name:"TASK_TYPE"){enumValues{name}}}`:       "data.__type.enumValues.0.name",
	`{__typename}`:                                       "data.__typename",
	`{my{self{email}}}`:                                  "data.my",
	`query Q{my{allProjects(first:1){edges{node{id}}}}}`: "data.my",
}

// TestKeyAlone: support, getGeoIPInfo, bank, versions and introspection come with
// key alone and must work without altitoken; my and my.self are null, WITHOUT an
// error, when nobody is logged in.
func TestKeyAlone(t *testing.T) {
	f := open(t)
	for query, path := range public {
		r := f.ask(t, "", query)
		if r.status != http.StatusOK || strings.Contains(r.body, "errors") {
			t.Errorf("%s: %d %s", query, r.status, r.body)
		}
		if v := r.at(t, path); (v == nil) != (path == "data.my") {
			t.Errorf("%s: %s is %v", query, path, v)
		}
	}
	if r := f.ask(t, "", `{my{self{email}}}`); r.body != `{"data":{"my":null}}`+"\n" {
		t.Errorf("nobody's my is %s", r.body)
	}
	r := f.ask(t, "", `{bank{coinsToMoney(coins:5,currency:USD) moneyToCoins(money:5,currency:USD)}}`)
	if r.json(t, "data.bank") != `{"coinsToMoney":0,"moneyToCoins":0}` {
		t.Errorf("the bank answers %s", r.body)
	}
	if got := f.ask(t, "", `{versions{api}}`).text(t, "data.versions.api"); got != "1.2.3-test" {
		t.Errorf("the version is %s", got)
	}
}

// TestUnknownTokenIsNobody: an unknown or revoked altitoken counts as nobody: my
// is null, public fields answer, the rest says unauthenticated.
func TestUnknownTokenIsNobody(t *testing.T) {
	f := open(t)
	pid := f.newProject(t, "North face")
	revoked, secret := f.newKey(t, f.owner, broker.NewKey{})
	if _, err := f.store.RevokeKey(t.Context(), revoked.ID, time.Now()); err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{"unknown": "ub_unknown", "revoked": secret, "nobody": ""} {
		for query, path := range public {
			if r := f.ask(t, token, query); strings.Contains(r.body, "errors") || (r.at(t, path) == nil) != (path == "data.my") {
				t.Errorf("%s: %s: %s", name, query, r.body)
			}
		}
		for _, query := range private(pid) {
			r := f.ask(t, token, query)
			if r.code() != broker.CodeUnauthenticated || r.status != http.StatusOK {
				t.Errorf("%s: %s: %d %s", name, query, r.status, r.body)
			}
		}
	}
}

// private is every field that needs a login.
func private(pid string) []string {
	id := `"` + pid + `"`
	return []string{
		`{project(id:` + id + `){id}}`,
		`{project(id:"x"){id}}`,
		`{search{projectID(id:` + id + `){id}}}`,
		`mutation{createProject(name:"x"){id}}`,
		`mutation{removeProject(id:` + id + `){id}}`,
		`mutation{hasImage(pid:` + id + `,checksum:"da39a3ee5e6b4b0d3255bfef95601890afd80709"){id}}`,
		`mutation{uploadImageS3(pid:` + id + `,bucket:Local,filename:"a.jpg"){url}}`,
		`mutation{uploadImageMinio(pid:` + id + `,bucket:Office,filename:"a.jpg"){url}}`,
		`mutation{uploadImageOSS(pid:` + id + `,bucket:NONE,filename:"a.jpg"){sts{id}}}`,
		`mutation{uploadImageURL(pid:` + id + `,url:"http://example.com/a.jpg"){id}}`,
		`mutation{startImageUpload(id:` + id + `){id}}`,
		`mutation{doneImageUpload(id:` + id + `){id}}`,
		`mutation{startReconstructionWithError(id:` + id + `){error{code}}}`,
		`mutation{preStartReconstruction(id:` + id + `){error{code}}}`,
		`mutation{stopReconstruction(id:` + id + `){id}}`,
	}
}

// TestHeaders: altitoken is the user's key, as a Bearer key is; key names the app
// and logs nobody in.
func TestHeaders(t *testing.T) {
	f := open(t)
	const query = `{"query":"{my{self{email username}}}"}`
	for _, headers := range [][]string{
		{"altitoken", f.secret}, {"Altitoken", f.secret}, {"Authorization", "Bearer " + f.secret},
		{"altitoken", f.secret, "key", "wrong"},
	} {
		if r := f.send(t, http.MethodPost, "/graphql", query, headers...); r.text(t, "data.my.self.email") != "ada@example.com" {
			t.Errorf("%q: %s", headers[0], r.body)
		}
	}
	if r := f.send(t, http.MethodPost, "/graphql", query, "key", f.secret); r.at(t, "data.my") != nil {
		t.Errorf("key logged in: %s", r.body)
	}
}

// TestCORS: browser pages send the headers content-type, key, altitoken.
func TestCORS(t *testing.T) {
	f := open(t)
	r := f.send(t, http.MethodOptions, "/graphql", "", "Origin", "https://page.example",
		"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "altitoken,content-type,key")
	allowed := strings.ToLower(r.header.Get("Access-Control-Allow-Headers"))
	for _, name := range []string{"content-type", "key", "altitoken"} {
		if !strings.Contains(allowed, name) {
			t.Errorf("%s is not allowed: %q", name, allowed)
		}
	}
	if r.header.Get("Access-Control-Allow-Origin") != "*" || r.status/100 != 2 {
		t.Errorf("the preflight answers %d %v", r.status, r.header)
	}
	r = f.send(t, http.MethodPost, "/graphql", `{"query":"{versions{api}}"}`, "Origin", "https://page.example")
	if r.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("the answer may not be read by the page: %v", r.header)
	}
}

// TestGetUserToken: key only; the token on right credentials, null on wrong ones,
// five tries a minute.
func TestGetUserToken(t *testing.T) {
	f := open(t)
	_, _, other := f.newOwner(t, "bob@example.com", "", broker.NewKey{})
	ask := func(email, password string) reply {
		return f.ask(t, "", `mutation{getUserToken(email:"`+email+`",password:"`+password+`",fresh:true)}`)
	}
	if got := ask("ADA@example.com", f.secret).text(t, "data.getUserToken"); got != f.secret {
		t.Errorf("the token is %s", got)
	}
	for _, c := range [][2]string{{"ada@example.com", "wrong"}, {"ada@example.com", other}, {"carol@example.com", f.secret}, {"", ""}} {
		if r := ask(c[0], c[1]); r.body != `{"data":{"getUserToken":null}}`+"\n" {
			t.Errorf("%v gets %s", c, r.body)
		}
	}
	r := ask("ada@example.com", f.secret)
	if r.status != http.StatusTooManyRequests || r.code() != broker.CodeTooManyRequests || r.header.Get("Retry-After") != "12" {
		t.Errorf("the sixth try: %d %v %s", r.status, r.header, r.body)
	}
	f.clock.pass(12 * time.Second)
	if r := ask("ada@example.com", f.secret); r.at(t, "data.getUserToken") != f.secret {
		t.Errorf("later: %s", r.body)
	}
}
