package main

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/uploadbroker/uploadbroker/api/client"
	"github.com/uploadbroker/uploadbroker/broker"
)

// The benchmarks run the whole product in this process, on its private Postgres,
// and its clients beside it on the same cores. Two peers run in the same go: what
// Postgres alone can do (pgbench, single-row INSERTs, 32 clients) and what Echo
// alone can do (an answer of a few bytes, 64 clients). Read the ratios
// (x-pgbench, x-echo), not the figures.

// bench is a served product.
type bench struct {
	*app
	url, key string
	http     *http.Client
	project  string
}

const benchClients = 64

func serveForBench(b *testing.B, changes ...func(*config)) *bench {
	b.Helper()
	c := defaults()
	c.DataDir = dataFolder(b)
	for _, change := range changes {
		change(&c)
	}
	if err := c.finish(nil, ""); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	a, err := openApp(ctx, c, log)
	if err != nil {
		b.Fatal(err)
	}
	boot, err := a.keys.Bootstrap(ctx, "")
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.serve(ctx, l, true, func() error { return nil }) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
		a.close()
	})
	s := &bench{app: a, url: "http://" + l.Addr().String(), key: boot.Secret, http: manyConnections()}
	s.project = s.newProject(b)
	return s
}

func manyConnections() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * benchClients, MaxIdleConns: 0}}
}

func (s *bench) newProject(b *testing.B) string {
	var p struct{ ID string }
	s.post(b, "/v1/projects", []byte(`{"name":"bench"}`), &p)
	return p.ID
}

func (s *bench) post(b *testing.B, path string, body []byte, out any) {
	req, err := http.NewRequest(http.MethodPost, s.url+path, bytes.NewReader(body))
	if err != nil {
		b.Error(err)
		return
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := s.http.Do(req)
	if err != nil {
		b.Error(err)
		return
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode/100 != 2 {
		b.Errorf("%s: %d %s %v", path, res.StatusCode, text, err)
		return
	}
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			b.Error(err)
		}
	}
}

// registration is the body of a batch of n files that were never seen before.
func registration(r *rand.Rand, n int) []byte {
	var list []map[string]any
	for range n {
		var seed [16]byte
		for i := range seed {
			seed[i] = byte(r.Uint32())
		}
		sum := sha1.Sum(seed[:])
		list = append(list, map[string]any{"name": fmt.Sprintf("100MEDIA/DJI_%06d.JPG", r.IntN(1e6)), "sha1": hex.EncodeToString(sum[:]), "size": 5 << 20})
	}
	text, err := json.Marshal(map[string]any{"images": list})
	if err != nil {
		panic(err)
	}
	return text
}

// load runs b.N requests by so many clients at once and reports rate and
// latencies; perRequest is how many things one request is about.
func load(b *testing.B, clients, perRequest int, unit string, do func(r *rand.Rand, i int)) (perSecond float64) {
	b.Helper()
	times := make([]time.Duration, b.N)
	forgetPeak()
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	began := time.Now()
	for c := range clients {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(c), uint64(began.UnixNano())))
			for {
				i := int(next.Add(1)) - 1
				if i >= b.N {
					return
				}
				t := time.Now()
				do(r, i)
				times[i] = time.Since(t)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	took := time.Since(began)
	slices.Sort(times)
	perSecond = float64(b.N*perRequest) / took.Seconds()
	b.ReportMetric(perSecond, unit+"/s")
	b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(peakMemory())/(1<<20), "peak-MiB")
	b.ReportMetric(0, "ns/op") // of many clients at once it means nothing
	return perSecond
}

// forgetPeak begins a new measurement of peakMemory.
func forgetPeak() {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // proc(5): resets VmHWM
}

// peakMemory is the most that this process held since forgetPeak, clients
// included and Postgres not, in bytes; 0 where the system does not tell.
func peakMemory() int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(text)
	if m == nil {
		return 0
	}
	kb, _ := strconv.ParseInt(string(m[1]), 10, 64)
	return kb << 10
}

// BenchmarkRegister1000 registers batches of 1,000 new files, by 4 clients.
func BenchmarkRegister1000(b *testing.B) {
	s := serveForBench(b)
	peer := s.pgbench(b)
	bodies := make([][]byte, b.N)
	for i := range bodies {
		bodies[i] = registration(rand.New(rand.NewPCG(uint64(i), uint64(time.Now().UnixNano()))), 1000)
	}
	rate := load(b, 4, 1000, "images", func(_ *rand.Rand, i int) {
		s.post(b, "/v1/projects/"+s.project+"/images/register", bodies[i], nil)
	})
	b.ReportMetric(peer, "pgbench-tps")
	b.ReportMetric(rate/peer, "x-pgbench")
}

// BenchmarkRegisterSingle registers one new file a request, by 64 clients.
func BenchmarkRegisterSingle(b *testing.B) {
	s := serveForBench(b)
	peer, hello := s.pgbench(b), echoHello(b)
	rate := load(b, benchClients, 1, "images", func(r *rand.Rand, _ int) {
		s.post(b, "/v1/projects/"+s.project+"/images/register", registration(r, 1), nil)
	})
	b.ReportMetric(peer, "pgbench-tps")
	b.ReportMetric(hello, "echo-req/s")
	b.ReportMetric(rate/peer, "x-pgbench")
	b.ReportMetric(rate/hello, "x-echo")
}

// BenchmarkCheck1000 asks for 1,000 digests, half of which are there, in a project
// of 20,000.
func BenchmarkCheck1000(b *testing.B) {
	s := serveForBench(b)
	hello := echoHello(b)
	r := rand.New(rand.NewPCG(1, 2))
	var known []string
	for range 20 {
		body := registration(r, 1000)
		var sent struct {
			Images []struct{ SHA1 string } `json:"images"`
		}
		if err := json.Unmarshal(body, &sent); err != nil {
			b.Fatal(err)
		}
		for _, img := range sent.Images {
			known = append(known, img.SHA1)
		}
		s.post(b, "/v1/projects/"+s.project+"/images/register", body, nil)
	}
	rate := load(b, 4, 1000, "digests", func(r *rand.Rand, _ int) {
		var ask []string
		for i := range 1000 {
			if i%2 == 0 {
				ask = append(ask, known[r.IntN(len(known))])
			} else {
				ask = append(ask, fmt.Sprintf("%040x", r.Uint64()|1))
			}
		}
		body, _ := json.Marshal(map[string]any{"sha1": ask})
		s.post(b, "/v1/projects/"+s.project+"/images/check", body, nil)
	})
	b.ReportMetric(rate/hello, "x-echo")
}

// BenchmarkPresign signs grants of the local bucket, on all cores. Package
// storage/s3 has it beside the SDK's own signer.
func BenchmarkPresign(b *testing.B) {
	s := serveForBench(b)
	signer := s.images.Places.Buckets()[0].Signer
	bind := broker.Binding{SizeBytes: 5 << 20, SHA1: sha1.Sum([]byte("x")), ContentType: "image/jpeg"}
	key := s.project + "/" + bind.SHA1.String() + ".jpg"
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := signer.SignPut(context.Background(), key, bind, time.Hour); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkFilesToReady brings folders of 24 photos of 12 megapixels from the disk
// to Ready: hashing, registration, PUTs to the local bucket, looks, validation.
func BenchmarkFilesToReady(b *testing.B) {
	s := serveForBench(b)
	const n = 24
	base := photo(1, 4000, 3000)
	b.ResetTimer()
	var total int64
	c, err := client.New(s.url, s.key)
	if err != nil {
		b.Fatal(err)
	}
	var took time.Duration
	for i := range b.N {
		b.StopTimer()
		dir := b.TempDir()
		for j := range n {
			// Bytes after a picture's own end are legal and make each file new.
			tail := fmt.Sprintf("%d.%d.%d", time.Now().UnixNano(), i, j)
			write(b, filepath.Join(dir, fmt.Sprintf("DJI_%04d.JPG", j)), append(base[:len(base):len(base)], tail...))
		}
		project := s.newProject(b)
		list, err := client.Scan(b.Context(), dir, client.ScanOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if i == 0 {
			forgetPeak()
		}
		b.StartTimer()
		began := time.Now()
		report, err := c.Upload(b.Context(), project, list.Files, client.UploadOptions{NoCache: true})
		if err != nil {
			b.Fatal(err)
		}
		took += time.Since(began)
		if report.Ready() != n {
			b.Fatalf("%d of %d are Ready: %+v", report.Ready(), n, report.Files)
		}
		total += report.BytesSent
		b.StopTimer()
		_ = os.RemoveAll(dir)
	}
	b.ReportMetric(float64(total)/1e6/took.Seconds(), "MB/s")
	b.ReportMetric(float64(n*b.N)/took.Seconds(), "images/s")
	b.ReportMetric(float64(peakMemory())/(1<<20), "peak-MiB")
	b.ReportMetric(0, "ns/op")
}

// pgbench is the peer: how many single-row INSERTs a second the same Postgres
// takes from 32 clients.
func (s *bench) pgbench(b *testing.B) float64 {
	b.Helper()
	path, err := exec.LookPath("pgbench")
	if err != nil {
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pgbench")
		if len(found) == 0 {
			b.Fatal("pgbench is not installed; it comes with the Postgres server's package")
		}
		path = found[len(found)-1]
	}
	ctx := b.Context()
	if _, err := s.db.Pool().Exec(ctx, `CREATE TABLE IF NOT EXISTS peer (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, sha1 bytea)`); err != nil {
		b.Fatal(err)
	}
	script := filepath.Join(b.TempDir(), "insert.sql")
	write(b, script, []byte("\\set n random(1, 1000000000)\nINSERT INTO peer (name, sha1) VALUES ('100MEDIA/DJI_' || :n, decode(md5(:n::text), 'hex'));\n"))
	conn := s.db.Pool().Config().ConnConfig
	cmd := exec.CommandContext(ctx, path, "-n", "-M", "prepared", "-c", "32", "-j", "2", "-T", "3", "-f", script, "-h", conn.Host, "-p", fmt.Sprint(conn.Port), "-U", conn.User, conn.Database)
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("pgbench: %v\n%s", err, out)
	}
	m := regexp.MustCompile(`tps = ([0-9.]+)`).FindSubmatch(out)
	if m == nil {
		b.Fatalf("pgbench says no rate:\n%s", out)
	}
	tps, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return tps
}

// echoHello is the other peer: how many requests a second a bare Echo answers to
// 64 clients in the same process.
func echoHello(b *testing.B) float64 {
	b.Helper()
	e := echo.New()
	e.POST("/", func(c echo.Context) error { return c.JSON(http.StatusOK, map[string]string{"hello": "world"}) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: e}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	hc := manyConnections()
	defer hc.CloseIdleConnections()
	var n atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range benchClients {
		wg.Go(func() {
			for time.Since(began) < 2*time.Second {
				res, err := hc.Post("http://"+l.Addr().String(), "application/json", strings.NewReader(`{"hello":"echo"}`))
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				n.Add(1)
			}
		})
	}
	wg.Wait()
	rate := float64(n.Load()) / time.Since(began).Seconds()
	return rate
}
