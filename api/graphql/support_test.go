package graphql

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// TestEndpoints: both begin with the address by which the caller came.
func TestEndpoints(t *testing.T) {
	f := open(t)
	r := f.ask(t, "", `{support{systemMode endpoints{api web}}}`)
	if got := r.json(t, "data.support"); got != `{"endpoints":{"api":"`+f.URL+`/graphql","web":"`+f.URL+`"},"systemMode":"Normal"}` {
		t.Errorf("%s", got)
	}
}

// TestSupportedCloud: image or nothing gives the clouds; meta and model give none.
func TestSupportedCloud(t *testing.T) {
	f := open(t)
	r := f.ask(t, "", `{support{a:supportedCloud b:supportedCloud(kind:null) c:supportedCloud(kind:image) d:supportedCloud(kind:meta) e:supportedCloud(kind:model)}
		getGeoIPInfo{nearestMetaBuckets{bucket} nearestModelBuckets{bucket}}}`)
	const clouds = `["S3","MINIO"]`
	if got := r.json(t, "data"); got != `{"getGeoIPInfo":{"nearestMetaBuckets":[],"nearestModelBuckets":[]},"support":{"a":`+clouds+`,"b":`+clouds+`,"c":`+clouds+`,"d":[],"e":[]}}` {
		t.Errorf("%s", got)
	}
}

const networkTest = `{support{networkTest(url:"http://198.51.100.7:8000/a")}}`

// TestNetworkTest: Success or Fail by what the test says, once a second from an
// address, and only of the caller's own address.
func TestNetworkTest(t *testing.T) {
	var answer error
	var tried []string
	f := open(t, func(s setup) {
		s.face.NetworkTest = func(ctx context.Context, url string, own netip.Addr) error {
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("a test may take for ever")
			}
			tried = append(tried, url+" "+own.String())
			return answer
		}
	})
	if got := f.ask(t, "", networkTest).text(t, "data.support.networkTest"); got != "Success" {
		t.Errorf("it answers %s", got)
	}
	if len(tried) != 1 || tried[0] != "http://198.51.100.7:8000/a 127.0.0.1" {
		t.Errorf("tried %v", tried)
	}
	r := f.ask(t, "", networkTest)
	if r.status != http.StatusTooManyRequests || r.code() != broker.CodeTooManyRequests || r.header.Get("Retry-After") != "1" {
		t.Errorf("at once again: %d %v %s", r.status, r.header, r.body)
	}
	f.clock.pass(time.Second)
	answer = errors.New("dial tcp 10.1.2.3: refused")
	if r := f.ask(t, "", networkTest); r.text(t, "data.support.networkTest") != "Fail" || strings.Contains(r.body, "10.1.2.3") {
		t.Errorf("it answers %s", r.body)
	}
	// Behind a proxy that nobody trusts, the caller's address is not known.
	f.clock.pass(time.Second)
	r = f.send(t, http.MethodPost, "/graphql", `{"query":"{support{networkTest(url:\"http://a\")}}"}`, "X-Forwarded-For", "203.0.113.7")
	if r.code() != broker.CodeNotSupported || len(tried) != 2 {
		t.Errorf("through a proxy: %s, tried %v", r.body, tried)
	}
}

// TestNetworkTestsAtOnce: eight may run, the ninth is told to wait.
func TestNetworkTestsAtOnce(t *testing.T) {
	began, end := make(chan struct{}), make(chan struct{})
	f := open(t, func(s setup) {
		now := time.Now()
		var mu sync.Mutex
		s.face.Now = func() time.Time { // a second passes between two calls
			mu.Lock()
			defer mu.Unlock()
			now = now.Add(time.Second)
			return now
		}
		s.face.NetworkTest = func(context.Context, string, netip.Addr) error {
			began <- struct{}{}
			<-end
			return nil
		}
	})
	var wait sync.WaitGroup
	for range testsAtOnce {
		wait.Go(func() {
			if got := f.ask(t, "", networkTest).text(t, "data.support.networkTest"); got != "Success" {
				t.Errorf("it answers %s", got)
			}
		})
		<-began
	}
	if r := f.ask(t, "", networkTest); r.code() != broker.CodeTooManyRequests {
		t.Errorf("the ninth: %s", r.body)
	}
	close(end)
	wait.Wait()
}

// TestNoNetworkTest: an installation that fetches nothing says so.
func TestNoNetworkTest(t *testing.T) {
	f := open(t)
	if r := f.ask(t, "", networkTest); r.code() != broker.CodeNotSupported || r.text(t, "errors.0.message") == "" {
		t.Errorf("%s", r.body)
	}
}
