package main

import (
	"crypto/sha1"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// query posts a GraphQL query as an old client does and fails on errors.
func (s *bench) query(b *testing.B, query string, header http.Header) {
	body, err := json.Marshal(map[string]any{"query": query, "variables": nil})
	if err != nil {
		b.Error(err)
		return
	}
	req, err := http.NewRequest(http.MethodPost, s.url+"/graphql", strings.NewReader(string(body)))
	if err != nil {
		b.Error(err)
		return
	}
	if header != nil {
		req.Header = header
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := s.http.Do(req)
	if err != nil {
		b.Error(err)
		return
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || strings.Contains(string(text), `"errors"`) {
		b.Errorf("%s: %d %s %v", query, res.StatusCode, text, err)
	}
}

// BenchmarkRegisterGraphQL registers one new file a request, as old clients do:
// the image and its presigned URL, by 64 clients.
func BenchmarkRegisterGraphQL(b *testing.B) {
	s := serveForBench(b)
	peer, hello := s.pgbench(b), echoHello(b)
	rate := load(b, benchClients, 1, "images", func(r *rand.Rand, _ int) {
		var seed [16]byte
		for i := range seed {
			seed[i] = byte(r.Uint32())
		}
		s.query(b, fmt.Sprintf(`mutation{uploadImageS3(pid:%q,bucket:Local,filename:"DJI_%06d.JPG",type:JPEG,checksum:"%x"){url image{id state}}}`,
			s.project, r.IntN(1e6), sha1.Sum(seed[:])), http.Header{"Altitoken": {s.key}, "Key": {"bench"}})
	})
	b.ReportMetric(peer, "pgbench-tps")
	b.ReportMetric(hello, "echo-req/s")
	b.ReportMetric(rate/peer, "x-pgbench")
	b.ReportMetric(rate/hello, "x-echo")
}

// BenchmarkNearest asks which of eight buckets is nearest, from random public
// addresses, by 64 clients: over REST with a key, over GraphQL without.
func BenchmarkNearest(b *testing.B) {
	s := serveForBench(b, func(c *config) {
		c.TrustedProxies = []prefix{prefix(netip.MustParsePrefix("127.0.0.0/8"))}
		for i, region := range []string{"us-east-1", "us-west-2", "sa-east-1", "eu-central-1", "af-south-1", "ap-south-1", "ap-east-1", "ap-southeast-2"} {
			c.Buckets = append(c.Buckets, bucketConfig{
				Symbol: fmt.Sprintf("Bucket%d", i), Cloud: "S3", Bucket: "b", Region: region, AccessKeyID: "a", AccessKeySecret: "s",
				Drain: false, Countries: countryRules{Except: []string{"CN"}},
			})
		}
	})
	hello := echoHello(b)
	from := func(r *rand.Rand) string {
		return netip.AddrFrom4([4]byte{byte(1 + r.IntN(9)), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())}).String()
	}
	b.Run("REST", func(b *testing.B) {
		rate := load(b, benchClients, 1, "requests", func(r *rand.Rand, _ int) {
			req, err := http.NewRequest(http.MethodGet, s.url+"/v1/buckets/nearest", nil)
			if err != nil {
				b.Error(err)
				return
			}
			req.Header = http.Header{"Authorization": {"Bearer " + s.key}, "X-Forwarded-For": {from(r)}}
			res, err := s.http.Do(req)
			if err != nil {
				b.Error(err)
				return
			}
			defer res.Body.Close()
			if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
				b.Errorf("%d %v", res.StatusCode, err)
			}
		})
		b.ReportMetric(rate/hello, "x-echo")
	})
	b.Run("GraphQL", func(b *testing.B) {
		rate := load(b, benchClients, 1, "requests", func(r *rand.Rand, _ int) {
			s.query(b, `{getGeoIPInfo{nearestBuckets{bucket display cloud}}}`, http.Header{"X-Forwarded-For": {from(r)}, "Key": {"bench"}})
		})
		b.ReportMetric(rate/hello, "x-echo")
	})
}
