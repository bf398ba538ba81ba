package rest

import (
	"strings"
	"testing"
)

func TestExplore(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	img := f.newImage(t, pid, "x")
	reg := "/v1/projects/" + pid + "/images/register"
	show := func(method, path string, body any, h ...string) {
		a := f.call(t, f.secret, method, path, body, h...)
		b := string(a.body)
		if len(b) > 420 {
			b = b[:420] + "…"
		}
		bs, _ := body.(string)
		if len(bs) > 100 {
			bs = bs[:100] + "…"
		}
		t.Logf("%s %s %q %q\n   → %d op=%s allow=%s %s", method, strings.ReplaceAll(path, pid, "P"), bs, h, a.status, a.op, a.header.Get("Allow"), strings.TrimSpace(b))
	}
	show("GET", "/v1/projects?q=%00", nil)
	show("GET", "/v1/projects?q=%ff", nil)
	show("GET", "/v1/projects?limit=0", nil)
	show("GET", "/v1/projects?limit=1001", nil)
	show("GET", "/v1/projects?limit=x", nil)
	show("GET", "/v1/projects?limit=99999999999999999999", nil)
	show("GET", "/v1/projects?cursor=zz", nil)
	show("GET", "/v1/projects?cursor="+strings.Repeat("A", 65), nil)
	show("GET", "/v1/projects?nope=1", nil)
	show("GET", "/v1/projects/"+pid+"/images?state=ready", nil)
	show("GET", "/v1/projects/%00/images", nil)
	show("GET", "/v1/projects/"+pid+"/images/%00", nil)
	show("GET", "/v1/projects/"+strings.ToLower(pid), nil)
	show("POST", "/v1/projects/"+pid+"/images/start", `{"ids":["\u0000"]}`)
	show("POST", "/v1/projects/"+pid+"/images/done", `{"ids":["\u0000"]}`)
	show("POST", "/v1/projects/"+pid+"/images/regrant", `{"ids":["\u0000"]}`)
	show("POST", "/v1/projects/"+pid+"/images/regrant", `{"ids":[]}`)
	show("POST", "/v1/projects/"+pid+"/images/start", `{"ids":null}`)
	show("POST", "/v1/projects/"+pid+"/images/start", `{}`)
	show("POST", "/v1/projects/"+pid+"/images/start", ``)
	show("POST", "/v1/projects/"+pid+"/images/check", `{"sha1":["\u0000","x"]}`)
	show("POST", reg, `{`)
	show("POST", reg, `[]`)
	show("POST", reg, `"x"`)
	show("POST", reg, `null`)
	show("POST", reg, `{"images":[]}`)
	show("POST", reg, `{"images":[]}{"images":[]}`)
	show("POST", reg, `{"images":[],"images":[{}]}`)
	show("POST", reg, `{"images":[null]}`)
	show("POST", reg, `{"images":[{}]}`)
	show("POST", reg, `{"images":{}}`)
	show("POST", reg, `{"pictures":[]}`)
	show("POST", reg, `{"images":[{"nane":"x"}]}`)
	show("POST", reg, `{"images":[{"name":"a","sha1":"`+digest("s")+`","size":1e30}]}`)
	show("POST", reg, `{"images":[{"name":"a","sha1":"`+digest("s")+`","size":9223372036854775807}]}`)
	show("POST", reg, `{"images":[{"name":"a","sha1":"`+digest("s")+`","size":9223372036854775808}]}`)
	show("POST", reg, `{"images":[{"name":"a","sha1":"`+digest("s")+`","size":1.5}]}`)
	show("POST", reg, `{"images":[{"name":"a","sha1":"`+digest("s")+`","size":"12"}]}`)
	show("POST", reg, `{"images":[{"name":"a","sha1":"`+digest("s")+`","size":null}]}`)
	show("POST", reg, `{"images":[{"name":"a","sha1":"`+digest("s")+`","size":-1}]}`)
	show("POST", reg, `{"images":[{"name":"\u0000","sha1":"`+digest("s")+`","size":1}]}`)
	show("POST", reg, `{"images":[{"name":"`+"\xff"+`","sha1":"`+digest("s")+`","size":1}]}`)
	show("POST", reg, `{"images":[{"name":"\udc80.jpg","sha1":"`+digest("s")+`","size":1}]}`)
	show("POST", reg, `{"images":[{"name":"a.jpg","sha1":"`+digest("s")+`","size":1,"type":" image/jpeg"}]}`)
	show("POST", reg, `{"images":[{"name":"a.jpg","sha1":"`+digest("s1")+`","size":1,"type":"image/jpeg;  a=b"}]}`)
	show("POST", reg, `{"bucket":"\u0000","images":[]}`)
	show("POST", reg, `{"bucket":"Drained","images":[]}`)
	show("POST", reg, `{"bucket":"Sessions","images":[]}`)
	show("POST", reg, strings.Repeat(" ", 9<<20))
	show("POST", reg, strings.Repeat("[", 100000))
	show("POST", reg, `{"images":[]}`, "Content-Type", "text/plain")
	r := func(ct, body string) {
		a := f.call(t, f.secret, "POST", reg, nil)
		_ = a
	}
	_ = r
	show("PUT", reg, `{"images":[]}`)
	show("DELETE", "/v1/projects", nil)
	show("PATCH", "/v1/me", nil)
	show("GET", "/v1", nil)
	show("GET", "/v1/", nil)
	show("GET", "/v1/projects/", nil)
	show("GET", "/v1/me/", nil)
	show("GET", "/v1/projects/"+pid+"/images:register", nil)
	show("GET", "/v1/projects/"+pid+"/images/register", nil)
	show("POST", "/v1/projects/"+pid+"/images/"+img.ID, nil)
	show("POST", "/v1/projects", `{"name":"\u0000"}`)
	show("POST", "/v1/projects", `{"name":" "}`)
	show("POST", "/v1/projects", `{"name":"a","kind":"x"}`)
	show("POST", "/v1/projects", `{"name":"a","kind":""}`)
	show("GET", "/v1/me", nil, "Accept", "text/html")
	show("GET", "/v1/me", nil, "Accept", "application/xml")
	show("GET", "/v1/me", nil, "Accept", "application/cbor;q=1, */*;q=0")
	show("OPTIONS", "/v1/me", nil)
	show("HEAD", "/v1/me", nil)
	show("HEAD", reg, nil)
	t.Log(f.log.String()[max(0, len(f.log.String())-1):])
	for _, l := range strings.Split(f.log.String(), "\n") {
		if strings.Contains(l, "level=ERROR") {
			t.Log(l)
		}
	}
}
