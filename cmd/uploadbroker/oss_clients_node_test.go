package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// ossScripts holds the program that speaks with Aliyun's packages for node, and the
// lock file that says which they are.
const ossScripts = "testdata/oss-clients"

// nodeJob is what clients.js reads.
type nodeJob struct {
	Client    string    `json:"client"`
	V4        bool      `json:"v4"`
	PathStyle bool      `json:"path_style"`
	Endpoint  string    `json:"endpoint"`
	Region    string    `json:"region"`
	Bucket    string    `json:"bucket"`
	PartSize  int       `json:"part_size"`
	Steps     []ossStep `json:"steps"`
}

// nodeClients are Aliyun's packages for node.
func (w *ossWorld) nodeClients(packages string) []ossClient {
	client := func(name, lacks string, job nodeJob) ossClient {
		job.Region, job.Bucket, job.PartSize = ossRegion, ossBucket, ossPartSize
		return ossClient{name: name, lacks: lacks, run: func(t *testing.T, steps []ossStep) []ossAnswer {
			job := job
			job.Steps = steps
			return runNode(t, packages, job)
		}}
	}
	// It has no method for the first two, forgets the bucket in the third when the
	// endpoint is an address, and its signed URLs carry the token where OSS's
	// documentation knows none.
	aliyun := client("aliyun-sdk V1", "list-v2 bucket-info append put-url get-url", nodeJob{Client: "aliyun-sdk", Endpoint: w.emulator})
	aliyun.unread = map[string]string{"head": "Forbidden"}
	return []ossClient{
		client("ali-oss V1", "", nodeJob{Client: "ali-oss", Endpoint: w.byName(), PathStyle: true}),
		// An address, as the broker tells it: the bucket is in a made-up host name, and
		// for that it signs no URLs.
		client("ali-oss V1, host", "put-url get-url", nodeJob{Client: "ali-oss", Endpoint: w.emulator}),
		client("ali-oss V4", "", nodeJob{Client: "ali-oss", Endpoint: w.byName(), PathStyle: true, V4: true}),
		aliyun,
	}
}

// nodePackages is the folder into which deploy/setup.sh put the packages of one below
// testdata.
func nodePackages(of string) (string, error) {
	if _, err := exec.LookPath("node"); err != nil {
		return "", err
	}
	lock, err := os.ReadFile(filepath.Join("testdata", of, "package-lock.json"))
	if err != nil {
		return "", err
	}
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(home, ".cache")
	}
	digest := sha256.Sum256(lock)
	dir := filepath.Join(cache, "uploadbroker", of+"-"+hex.EncodeToString(digest[:])[:16])
	_, err = os.Stat(filepath.Join(dir, "node_modules"))
	return dir, err
}

// runNode runs a job in a process of node.
func runNode(t *testing.T, packages string, job nodeJob) (answers []ossAnswer) {
	t.Helper()
	text, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	// localhost is where the emulator listens, and not ::1.
	cmd := exec.CommandContext(t.Context(), "node", "--dns-result-order=ipv4first", filepath.Join(ossScripts, "clients.js"), packages)
	cmd.Stdin = bytes.NewReader(text)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, stderr.Bytes())
	}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var a ossAnswer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			t.Fatalf("%v in %s", err, lines.Bytes())
		}
		answers = append(answers, a)
	}
	if len(answers) != len(job.Steps) {
		t.Fatalf("%d answers to %d steps:\n%s%s", len(answers), len(job.Steps), out, stderr.Bytes())
	}
	return answers
}
