package oss

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/aliyun/aliyun-oss-go-sdk/oss"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// send uses a grant as a client should.
func send(t *testing.T, client *http.Client, req broker.Request, body string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), req.Method, req.URL, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range req.Headers {
		r.Header.Set(name, value)
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func TestOpenRefuses(t *testing.T) {
	right := Options{Bucket: "photos", Region: "cn-hangzhou", AccessKeyID: "a", AccessKeySecret: "b"}
	if _, err := Open(t.Context(), right); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Options){
		"no bucket":         func(o *Options) { o.Bucket = "" },
		"a pattern":         func(o *Options) { o.Bucket = "photos*" },
		"capitals":          func(o *Options) { o.Bucket = "Photos" },
		"half a key":        func(o *Options) { o.AccessKeySecret = "" },
		"other half":        func(o *Options) { o.AccessKeyID = "" },
		"small parts":       func(o *Options) { o.PartSizeBytes = 1 },
		"no region":         func(o *Options) { o.Region = "" },
		"odd region":        func(o *Options) { o.Region = "cn/hangzhou" },
		"bad endpoint":      func(o *Options) { o.Endpoint = "::not a url" },
		"no scheme":         func(o *Options) { o.Endpoint = "oss-cn-hangzhou.aliyuncs.com" },
		"a path":            func(o *Options) { o.Endpoint = "http://127.0.0.1:9000/oss" },
		"a public path":     func(o *Options) { o.PublicEndpoint = "https://x.example.com/oss" },
		"a user":            func(o *Options) { o.STSEndpoint = "https://u:p@sts.example.com" },
		"a role that isn't": func(o *Options) { o.RoleARN = "uploader" },
	} {
		o := right
		change(&o)
		if _, err := Open(t.Context(), o); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestEndpoints(t *testing.T) {
	for _, c := range []struct {
		region, endpoint, public string
		wantOwn, wantPublic      string
	}{
		{"cn-hangzhou", "", "", "https://oss-cn-hangzhou.aliyuncs.com", "https://oss-cn-hangzhou.aliyuncs.com"},
		{"oss-cn-hangzhou", "", "", "https://oss-cn-hangzhou.aliyuncs.com", "https://oss-cn-hangzhou.aliyuncs.com"},
		{"oss-cn-hangzhou-internal", "", "", "https://oss-cn-hangzhou-internal.aliyuncs.com", "https://oss-cn-hangzhou.aliyuncs.com"},
		{"cn-hangzhou-internal", "", "https://up.example.com", "https://oss-cn-hangzhou-internal.aliyuncs.com", "https://up.example.com"},
		{"cn-hangzhou", "http://10.0.0.5:9000/", "", "http://10.0.0.5:9000", "http://10.0.0.5:9000"},
		{"cn-hangzhou", "http://10.0.0.5:9000", "https://up.example.com/", "http://10.0.0.5:9000", "https://up.example.com"},
	} {
		b := open(t, Options{Bucket: "photos", Region: c.region, Endpoint: c.endpoint, PublicEndpoint: c.public, AccessKeyID: "a", AccessKeySecret: "b"})
		if b.o.Endpoint != c.wantOwn || b.o.PublicEndpoint != c.wantPublic || b.region != "cn-hangzhou" || b.o.STSEndpoint != "https://sts.cn-hangzhou.aliyuncs.com" {
			t.Errorf("%+v: %s, %s, %s, %s", c, b.o.Endpoint, b.o.PublicEndpoint, b.region, b.o.STSEndpoint)
		}
	}
	if _, ok := open(t, Options{Bucket: "photos", Region: "cn-hangzhou", AccessKeyID: "a", AccessKeySecret: "b"}).Driver().(storage.Sessioner); ok {
		t.Error("without a role it gives sessions")
	}
}

// TestPublicEndpoint gives clients another name than the broker uses, with the
// bucket in the path of both.
func TestPublicEndpoint(t *testing.T) {
	c := startCloud(t, nil, "photos")
	o := c.options("photos")
	o.PublicEndpoint, o.PathStyle = strings.Replace(c.URL, "127.0.0.1", "localhost", 1), true
	b := portable(t, open(t, o).Driver())
	req, err := b.SignPut(t.Context(), testPrefix+"a b", broker.Binding{SizeBytes: 4}, time.Minute)
	if err != nil || !strings.HasPrefix(req.URL, o.PublicEndpoint+"/photos/"+testPrefix+"a%20b?") {
		t.Fatalf("%s, %v", req.URL, err)
	}
	if !req.Unbound {
		t.Error("its sha1 is not bound, and it does not say so")
	}
	if status, answer := send(t, c.client(), req, "body"); status != http.StatusOK {
		t.Fatalf("%d: %s", status, answer)
	}
	obj, err := b.Stat(t.Context(), testPrefix+"a b")
	if err != nil || obj.SizeBytes != 4 {
		t.Fatalf("%+v, %v", obj, err)
	}
	s, err := b.Session(t.Context(), testPrefix)
	if err != nil || s.Endpoint != o.PublicEndpoint || !s.PathStyle || s.URL("a b") != o.PublicEndpoint+"/photos/a%20b" {
		t.Errorf("a session for %s, path style %v: %v", s.Endpoint, s.PathStyle, err)
	}
	if err := newSessionClient(t, c, s, sdk.AuthV4).Put(t.Context(), testPrefix+"y", []byte("y")); err != nil {
		t.Error(err)
	}
}
