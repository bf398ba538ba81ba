package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The broker's side of it, asked as clients written years ago do.

// startBroker runs the whole program with the emulator's bucket as its only one.
// Its sessions live as short as STS allows, so that one can end within the time
// that the clocks of a client and a cloud may differ.
func (w *ossWorld) startBroker(t *testing.T) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, fmt.Appendf(nil, `buckets:
  - symbol: %s
    cloud: OSS
    bucket: %s
    region: %s
    endpoint: %s
    path_style: true
    access_key_id: %s
    access_key_secret: %s
    grant_ttl: 15m
    oss: {role_arn: "%s", sts_endpoint: %s/sts}
`, ossSymbol, ossBucket, ossRegion, w.emulator, accountID, accountKey, ossRole, w.emulator))
	w.broker = start(t, dataFolder(t), "--config", path)
}

// ask sends a query as old clients do and reads the field of data into out.
func (w *ossWorld) ask(query, field string, out any) error {
	text, err := json.Marshal(map[string]any{"query": query, "variables": nil})
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPost, w.broker.url+"/graphql", bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("key", "some-app")
	req.Header.Set("altitoken", w.broker.key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var answer struct {
		Data   map[string]json.RawMessage
		Errors []struct{ Message string }
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return err
	}
	if len(answer.Errors) > 0 {
		return errors.New(answer.Errors[0].Message)
	}
	return json.Unmarshal(answer.Data[field], out)
}

func (w *ossWorld) newProject(t *testing.T, name string) string {
	t.Helper()
	var p struct{ ID string }
	if err := w.ask(fmt.Sprintf(`mutation{createProject(name:%q,type:free){id}}`, name), "createProject", &p); err != nil {
		t.Fatal(err)
	}
	return p.ID
}

// register asks for an image and a session to upload it with.
func (w *ossWorld) register(t *testing.T, pid, name, sha1 string) (id, filename string, s ossSession) {
	t.Helper()
	var answer struct {
		STS struct {
			ID, Secret, Token, Bucket, Endpoint string
			Expire                              string
		}
		Image struct{ ID, Filename string }
	}
	if err := w.ask(fmt.Sprintf(`mutation{uploadImageOSS(pid:%q,bucket:%s,filename:%q,type:JPEG,checksum:%q)`+
		`{sts{id secret token bucket endpoint expire} image{id filename}}}`, pid, ossSymbol, name, sha1), "uploadImageOSS", &answer); err != nil {
		t.Fatal(err)
	}
	if answer.STS.Bucket != ossBucket || answer.STS.Endpoint != w.emulator {
		t.Errorf("the session is for %s at %s, want %s at %s", answer.STS.Bucket, answer.STS.Endpoint, ossBucket, w.emulator)
	}
	if _, err := time.Parse("2006-01-02T15:04:05Z", answer.STS.Expire); err != nil {
		t.Errorf("the session's end: %v", err)
	}
	return answer.Image.ID, answer.Image.Filename, ossSession{ID: answer.STS.ID, Secret: answer.STS.Secret, Token: answer.STS.Token}
}

func (w *ossWorld) done(t *testing.T, id string) {
	t.Helper()
	var img struct{ State string }
	if err := w.ask(fmt.Sprintf(`mutation{doneImageUpload(id:%q){state}}`, id), "doneImageUpload", &img); err != nil {
		t.Error(err)
	}
}

// waitReady asks until the image is judged, as clients do, and reads what was
// proven of it.
func (w *ossWorld) waitReady(t *testing.T, pid string, img ossImage) {
	t.Helper()
	var p struct {
		Image struct {
			State    string
			Error    []string
			Checksum string
		}
	}
	for began := time.Now(); p.Image.State != "Ready"; time.Sleep(100 * time.Millisecond) {
		if err := w.ask(fmt.Sprintf(`{project(id:%q){image(id:%q){state error checksum}}}`, pid, img.id), "project", &p); err != nil {
			t.Fatal(err)
		}
		if p.Image.State == "Invalid" || time.Since(began) > patience {
			t.Fatalf("%s is %s: %q\n%s", img.key, p.Image.State, p.Image.Error, w.broker.out)
		}
	}
	if !strings.EqualFold(p.Image.Checksum, img.sha1) {
		t.Errorf("%s is Ready with the checksum %s, want %s", img.key, p.Image.Checksum, img.sha1)
	}
}
