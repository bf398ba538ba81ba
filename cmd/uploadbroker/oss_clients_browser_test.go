package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/aliyun/aliyun-oss-go-sdk/oss"
)

// A page has other limits than a program: its browser asks the bucket first
// whether it may (CORS), and shows it only what the bucket exposes.

// browserClients are ali-oss's bundle for browsers in a real one, in both
// versions of the signature; none where there is no browser.
func (w *ossWorld) browserClients(t *testing.T, packages string) []ossClient {
	t.Helper()
	browser, err := exec.LookPath("chromium")
	if err != nil {
		if requires("chromium") {
			t.Fatal(err)
		}
		t.Run("browser", func(t *testing.T) { t.Skipf("set REQUIRE=chromium to make this a failure: %v", err) })
		return nil
	}
	client := func(name string, job nodeJob) ossClient {
		// The bundle has no methods for these.
		const lacks = "bucket-info bucket-location buckets"
		// Pages don't get to see x-oss-err.
		unread := map[string]string{"head": "UnknownError", "meta": "UnknownError"}
		return ossClient{name: name, lacks: lacks, unread: unread, page: true, run: func(t *testing.T, steps []ossStep) []ossAnswer {
			job := job
			job.Steps = steps
			return runPage(t, browser, packages, job)
		}}
	}
	job := nodeJob{Client: "ali-oss", Endpoint: w.byName(), Region: ossRegion, Bucket: ossBucket, PartSize: ossPartSize, PathStyle: true}
	v4 := job
	v4.V4 = true
	return []ossClient{client("browser V1", job), client("browser V4", v4)}
}

// allowPages is what an operator sets on a bucket for his pages.
func (w *ossWorld) allowPages(t *testing.T, origin string) {
	t.Helper()
	if err := w.account.Client.SetBucketCORS(ossBucket, []oss.CORSRule{{
		AllowedOrigin: []string{origin},
		AllowedMethod: []string{"PUT", "POST", "GET", "HEAD", "DELETE"},
		AllowedHeader: []string{"*"},
		ExposeHeader:  []string{"ETag", "x-oss-request-id"},
		MaxAgeSeconds: 600,
	}}); err != nil {
		t.Fatal(err)
	}
}

// refusedElsewhere: pages of other sites than the bucket's rules name can't upload,
// whatever session they have.
func (w *ossWorld) refusedElsewhere(t *testing.T, p *ossParty) {
	w.allowPages(t, "https://photos.example.com")
	before := w.contents(t)
	step := ossStep{Do: "put", Key: p.pid + "/elsewhere.jpg", File: p.small.path, Session: p.session}
	got := p.client.run(t, []ossStep{step})[0]
	t.Logf("%-16s %-40s %s", p.client.name, "write from another site", got)
	if got.OK || got.Status > 0 {
		t.Errorf("%s: %s, and its browser should tell no status", got, got.Message)
	}
	if after := w.contents(t); after != before {
		t.Errorf("it left something behind; before:\n%s\nafter:\n%s", before, after)
	}
}

// runPage runs a job in a page of a browser of its own.
func runPage(t *testing.T, browser, packages string, job nodeJob) []ossAnswer {
	t.Helper()
	answered := make(chan []ossAnswer, 1)
	page := http.NewServeMux()
	file := func(pattern, path string) {
		page.HandleFunc(pattern, func(rw http.ResponseWriter, r *http.Request) { http.ServeFile(rw, r, path) })
	}
	file("GET /{$}", filepath.Join(ossScripts, "page.html"))
	file("GET /ali-oss.js", filepath.Join(ossScripts, "ali-oss.js"))
	file("GET /bundle.js", filepath.Join(packages, "node_modules/ali-oss/dist/aliyun-oss-sdk.min.js"))
	page.HandleFunc("GET /job", func(rw http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(rw).Encode(job) })
	page.HandleFunc("GET /file", func(rw http.ResponseWriter, r *http.Request) {
		path := r.FormValue("path")
		if !slices.ContainsFunc(job.Steps, func(s ossStep) bool { return s.File == path }) {
			path = ""
		}
		http.ServeFile(rw, r, path)
	})
	page.HandleFunc("POST /answers", func(_ http.ResponseWriter, r *http.Request) {
		var got struct {
			Answers []ossAnswer
			Failed  string
		}
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil || got.Failed != "" {
			t.Errorf("the page failed: %s (%v)", got.Failed, err)
		}
		answered <- got.Answers
	})
	site := httptest.NewServer(page)
	defer site.Close()

	// Its last processes may still write when the first is gone.
	home, err := os.MkdirTemp("", "uploadbroker-page-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(home) }()
	cmd := exec.Command(browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--user-data-dir="+home, site.URL)
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home)
	out := &transcript{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it has many processes
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	}()
	select {
	case answers := <-answered:
		if len(answers) != len(job.Steps) {
			t.Fatalf("%d answers to %d steps", len(answers), len(job.Steps))
		}
		return answers
	case <-time.After(patience):
		t.Fatalf("the page answered nothing:\n%s", out)
		return nil
	}
}
