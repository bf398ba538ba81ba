package main

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// delayUploads is how many files are uploaded for one measurement of the delay.
const delayUploads = 500

// BenchmarkDelay measures the time from a finished PUT to its verdict, of 500 small
// photos by 8 clients who tell nobody: no event, no done hook, no question. Its
// peer is the same at the local bucket, whose gateway is in the same process. "after
// a minute" waits between registering and uploading, so that the broker looks more
// rarely by then.
func BenchmarkDelay(b *testing.B) {
	for _, c := range []struct {
		name, bucket string
		pause        time.Duration
	}{
		{"local", "Local", 0}, {"s3", "East", 0}, {"s3-after-a-minute", "East", time.Minute},
	} {
		b.Run(c.name, func(b *testing.B) {
			cloud := startS3(b, "east")
			s := serveForBench(b, func(conf *config) {
				enabled, path := true, true
				conf.LocalBucket.Enabled = &enabled
				conf.Buckets = []bucketConfig{{
					Symbol: "East", Cloud: "S3", Bucket: "east", Endpoint: cloud.endpoint, PathStyle: &path,
					AccessKeyID: s3ID, AccessKeySecret: s3Secret,
				}}
			})
			var delays []time.Duration
			for b.Loop() {
				delays = append(delays, s.delays(b, c.bucket, c.pause)...)
			}
			slices.Sort(delays)
			at := func(share float64) float64 {
				return float64(delays[int(share*float64(len(delays)-1))]) / float64(time.Millisecond)
			}
			b.ReportMetric(at(0.5), "p50-ms")
			b.ReportMetric(at(0.95), "p95-ms")
			b.ReportMetric(at(1), "max-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// delays uploads once and returns how long each file waited for its verdict.
func (s *bench) delays(b *testing.B, bucket string, pause time.Duration) []time.Duration {
	b.Helper()
	pid := s.newProject(b)
	files := map[string][]byte{} // by id
	var granted []result
	for first := 0; first < delayUploads; first += 100 {
		body := map[string]any{"bucket": bucket}
		var entries []map[string]any
		batch := map[string][]byte{}
		for i := range 100 {
			text := photo(uint64(time.Now().UnixNano())+uint64(first+i), 64, 48)
			e := entry(fmt.Sprintf("DJI_%04d.JPG", first+i), text)
			sum := sha1.Sum(text)
			batch[hex.EncodeToString(sum[:])] = text
			entries = append(entries, e)
		}
		body["images"] = entries
		text, err := json.Marshal(body)
		if err != nil {
			b.Fatal(err)
		}
		var answer struct{ Results []result }
		s.post(b, "/v1/projects/"+pid+"/images/register", text, &answer)
		for i, r := range answer.Results {
			files[r.Image.ID] = batch[entries[i]["sha1"].(string)]
		}
		granted = append(granted, answer.Results...)
	}
	time.Sleep(pause)
	put := map[string]time.Time{}
	var mu sync.Mutex
	var clients sync.WaitGroup
	queue := make(chan result)
	for range 8 {
		clients.Go(func() {
			for r := range queue {
				if status := r.put(b, files[r.Image.ID]); status != 200 {
					b.Errorf("a PUT answers %d", status)
				}
				mu.Lock()
				put[r.Image.ID] = time.Now()
				mu.Unlock()
			}
		})
	}
	for _, r := range granted {
		queue <- r
	}
	close(queue)
	clients.Wait()

	// The store is asked, since a question to the API would make the broker look.
	var delays []time.Duration
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		images, err := s.db.ListImages(context.Background(), pid, broker.StateReady, broker.Page{Limit: delayUploads})
		if err != nil {
			b.Fatal(err)
		}
		if len(images) == delayUploads {
			for _, img := range images {
				delays = append(delays, img.JudgedAt.Sub(put[img.ID]))
			}
			return delays
		}
		if time.Now().After(deadline) {
			b.Fatalf("%d of %d are Ready after two minutes", len(images), delayUploads)
		}
	}
}
