package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// nearest lists the symbols that the server offers this client.
func (s *server) nearest() string {
	s.t.Helper()
	var near struct{ Buckets []struct{ Symbol string } }
	if status := s.call("GET", "/v1/buckets/nearest", nil, &near); status != 200 {
		s.t.Fatalf("nearest: %d", status)
	}
	var symbols []string
	for _, b := range near.Buckets {
		symbols = append(symbols, b.Symbol)
	}
	return strings.Join(symbols, " ")
}

// enum lists the members of a GraphQL enum.
func (s *server) enum(name string) string {
	s.t.Helper()
	var answer struct {
		Data struct {
			Type struct{ EnumValues []struct{ Name string } } `json:"__type"`
		}
	}
	query := map[string]string{"query": fmt.Sprintf(`{__type(name:%q){enumValues{name}}}`, name)}
	if status := s.call("POST", "/graphql", query, &answer); status != 200 {
		s.t.Fatalf("introspection: %d", status)
	}
	var names []string
	for _, v := range answer.Data.Type.EnumValues {
		names = append(names, v.Name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// TestReloadOnHangup: SIGHUP puts changed buckets and places in force, tells what
// needs a restart, and leaves all as it was when the file has a fault.
func TestReloadOnHangup(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.yaml")
	const (
		base  = "local_bucket: {enabled: true}\ngeoip: {overrides: {127.0.0.0/8: {country: %s}}}\nbuckets:\n"
		hk    = "  - {symbol: HongKong, cloud: S3, bucket: b, region: ap-east-1, access_key_id: a, access_key_secret: s, drain: %t}\n"
		fra   = "  - {symbol: Frankfurt, cloud: S3, bucket: b, region: eu-central-1, access_key_id: a, access_key_secret: s, countries: {except: [CN]}}\n"
		minio = "  - {symbol: Office, cloud: MINIO, bucket: b, endpoint: 'http://127.0.0.1:1', access_key_id: a, access_key_secret: s, location: {lat: 48, lon: 11}}\n"
	)
	set := func(text string) { write(t, path, []byte(text)) }
	set(fmt.Sprintf(base+hk+fra, "DE", false))
	s := start(t, dataFolder(t), "--config", path)
	if got := s.nearest(); got != "Frankfurt HongKong Local" {
		t.Errorf("at the start, in Germany: %s", got)
	}
	if got := s.enum("BucketS3") + "; " + s.enum("BucketMinio"); got != "Frankfurt HongKong Local; NONE" {
		t.Errorf("at the start the enums are %s", got)
	}
	reload := func() {
		t.Helper()
		if err := s.cmd.Process.Signal(hangup); err != nil {
			t.Fatal(err)
		}
	}
	count := func(line string) int { return strings.Count(s.out.String(), line) }

	set(fmt.Sprintf(base+hk+fra+minio+"limits: {max_batch: 7}\n", "CN", false))
	reload()
	s.waitFor("the new configuration", func() bool { return count("configuration reloaded") == 1 })
	if got := s.nearest(); got != "HongKong Office Local" {
		t.Errorf("in China, with a new bucket: %s", got)
	}
	if got := s.enum("BucketS3") + "; " + s.enum("BucketMinio"); got != "Frankfurt HongKong Local; Office" {
		t.Errorf("then the enums are %s", got)
	}
	if !containsLine(s.out.String(), "needs a restart", "limits") {
		t.Errorf("nobody was told that limits need a restart:\n%s", s.out)
	}

	set("buckets: [{symbol: 1st}]\nlissten: x\n")
	reload()
	s.waitFor("the fault to be told", func() bool { return count("not reloaded") == 1 })
	if !strings.Contains(s.out.String(), "lissten") {
		t.Errorf("the fault is not told:\n%s", s.out)
	}
	if got := s.nearest(); got != "HongKong Office Local" {
		t.Errorf("after a fault: %s", got)
	}

	set(fmt.Sprintf(base+hk+fra, "CN", true))
	reload()
	s.waitFor("the third configuration", func() bool { return count("configuration reloaded") == 2 })
	if got := s.nearest(); got != "Local" {
		t.Errorf("drained: %s", got)
	}
	if got := s.enum("BucketMinio"); got != "NONE" {
		t.Errorf("without a bucket of its cloud the enum is %s", got)
	}
	if code := s.stop(); code != 0 {
		t.Errorf("it ended with %d:\n%s", code, s.out)
	}
}
