package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
	"github.com/uploadbroker/uploadbroker/storage/local"
)

const (
	zipFiles  = 200
	zipBytes  = 5_000_000 // of each
	zipRounds = 5         // of each way, in turns; the median counts
	zipGoal   = 0.8       // of the rate of reading the same objects one by one
	zipMemory = 32 << 20  // that the server may take more while it serves one
)

// BenchmarkZip downloads a zip of 1 GB from `uploadbroker serve`, a process of its
// own, beside reading the same objects of the same bucket one by one: by their links
// from the same server, as a client would, and straight from the bucket, as the zip's
// maker does, which passes the bytes on once less.
func BenchmarkZip(b *testing.B) {
	data := dataFolder(b)
	dir := filepath.Join(filepath.Dir(data), "files")
	if err := os.Mkdir(dir, 0o700); err != nil {
		b.Fatal(err)
	}
	r := rand.NewChaCha8([32]byte{1})
	content := make([]byte, zipBytes)
	for i := range zipFiles {
		_, _ = r.Read(content) // never fails
		write(b, filepath.Join(dir, fmt.Sprintf("DJI_%04d.JPG", i)), content)
	}
	s := start(b, data)
	var p struct{ ID string }
	if code := s.call(http.MethodPost, "/v1/projects", map[string]any{"name": "zip", "kind": "files"}, &p); code != http.StatusCreated {
		b.Fatalf("make a project: %d", code)
	}
	if code, out := s.client("upload", dir, "--project", p.ID); code != 0 {
		b.Fatalf("upload ended with %d:\n%s", code, out)
	}

	// Each process has a gateway of its own over the same folder.
	gateway, err := local.Open(b.Context(), local.Options{Dir: filepath.Join(data, "objects"), KeyFile: filepath.Join(data, "local-bucket.key")})
	if err != nil {
		b.Fatal(err)
	}
	defer gateway.Close()
	driver, err := gateway.Bucket(b.Context(), local.BucketName)
	if err != nil {
		b.Fatal(err)
	}
	bucket, err := storage.New(storage.Info{Symbol: "Local", Cloud: broker.CloudS3}, driver)
	if err != nil {
		b.Fatal(err)
	}
	var objects []storage.Object
	var links []string
	for obj, err := range bucket.All(b.Context(), p.ID+"/") {
		if err != nil {
			b.Fatal(err)
		}
		link, err := bucket.SignGet(b.Context(), obj.Key, storage.GetOptions{}, time.Hour)
		if err != nil {
			b.Fatal(err)
		}
		objects, links = append(objects, obj), append(links, s.url+link)
	}
	if len(objects) != zipFiles {
		b.Fatalf("%d objects, want %d", len(objects), zipFiles)
	}

	read := func(url string) int64 {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
		if err != nil {
			b.Fatal(err)
		}
		if !strings.Contains(url, "X-Amz-Signature") {
			req.Header.Set("Authorization", "Bearer "+s.key)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		defer res.Body.Close()
		n, err := io.Copy(io.Discard, res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			b.Fatalf("%d with %d bytes: %v", res.StatusCode, n, err)
		}
		return n
	}
	ways := []struct {
		name string
		read func() int64
	}{
		{"zip", func() int64 { return read(s.url + "/v1/projects/" + p.ID + "/zip") }},
		{"one by one, links", func() (n int64) {
			for _, link := range links {
				n += read(link)
			}
			return n
		}},
		{"one by one, bucket", func() (n int64) {
			for _, obj := range objects {
				rc, _, err := bucket.Open(b.Context(), obj.Key, storage.Range{}, obj.ETag)
				if err != nil {
					b.Fatal(err)
				}
				got, err := io.Copy(io.Discard, rc)
				if err != nil {
					b.Fatal(err)
				}
				rc.Close()
				n += got
			}
			return n
		}},
	}
	rates := make([][]float64, len(ways)) // MB/s
	most := int64(0)
	for range zipRounds * b.N {
		for i, w := range ways {
			before := statusBytes(s.cmd.Process.Pid, "VmRSS")
			_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.cmd.Process.Pid), []byte("5"), 0) // forgets its peak
			began := time.Now()
			n := w.read()
			rates[i] = append(rates[i], float64(n)/1e6/time.Since(began).Seconds())
			if i == 0 {
				most = max(most, statusBytes(s.cmd.Process.Pid, "VmHWM")-before)
			}
		}
	}
	median := func(i int) float64 {
		slices.Sort(rates[i])
		return rates[i][len(rates[i])/2]
	}
	for i, w := range ways {
		fmt.Printf("%-20s %6.0f MB/s (%.0f to %.0f)\n", w.name, median(i), rates[i][0], rates[i][len(rates[i])-1])
	}
	links1, bucket1 := median(0)/median(1), median(0)/median(2)
	fmt.Printf("the zip has %.2f of the rate of links and %.2f of the bucket's; the server took %.1f MB more (peak %.0f MB)\n",
		links1, bucket1, float64(most)/1e6, float64(statusBytes(s.cmd.Process.Pid, "VmHWM"))/1e6)
	b.ReportMetric(median(0), "MB/s")
	b.ReportMetric(links1, "x-links")
	b.ReportMetric(bucket1, "x-bucket")
	b.ReportMetric(float64(most)/1e6, "MB-more")
	b.ReportMetric(0, "ns/op")
	if min(links1, bucket1) < zipGoal {
		b.Errorf("the zip has %.2f of the rate of reading the objects one by one, the goal is %.2f", min(links1, bucket1), zipGoal)
	}
	if most > zipMemory {
		b.Errorf("the server took %d bytes more, the goal is %d", most, zipMemory)
	}
}
