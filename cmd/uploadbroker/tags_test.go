package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// Who opens a tag to anybody is told how much may come.
func TestGreetingTellsTheBound(t *testing.T) {
	for _, c := range []struct {
		tags tagsConfig
		want string
	}{
		{tagsConfig{}, "until the disk has 256 MiB left"},
		{tagsConfig{MinFree: 2e9}, "until the disk has 2.0 GB left"},
		{tagsConfig{Quota: 10e9, MinFree: 2e9}, "up to 10.0 GB."},
	} {
		a := &app{config: config{Tags: c.tags}}
		var b strings.Builder
		a.greetLAN(&b, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080})
		if got := b.String(); !strings.Contains(got, c.want) || strings.Contains(got, "quota:") != (c.tags.Quota == 0) {
			t.Errorf("%+v: it tells\n%s", c.tags, got)
		}
	}
}

// TestCollectInTheLAN is the data-collection server in one go: `serve --lan`, files
// from phones without a key, their verdicts, and all of them as one zip.
func TestCollectInTheLAN(t *testing.T) {
	t.Parallel()
	data := dataFolder(t)
	s := start(t, data, "--lan")
	if len(lanAddrs()) > 0 {
		if out := s.out.String(); !regexp.MustCompile(`(?m)^  curl -T photo.jpg http://\S+/upload/inbox/$`).MatchString(out) ||
			!strings.Contains(out, "/tags/inbox\n") || !strings.Contains(out, "█") {
			t.Errorf("the start tells neither how to send nor where to look:\n%s", out)
		}
	}
	send := func(path, key, content string) (status int, record struct{ ID, Name, URL string }) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.url+path, strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		if key != "" {
			req.Header.Set("Authorization", "Bearer "+key)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode/100 == 2 {
			if err := json.NewDecoder(resp.Body).Decode(&record); err != nil {
				t.Fatal(err)
			}
		}
		return resp.StatusCode, record
	}
	picture := string(photo(5, 64, 48))
	status, sent := send("/upload/inbox/IMG_0001.JPG", "", picture)
	if status != http.StatusCreated || sent.Name != "IMG_0001.JPG" {
		t.Fatalf("the upload answers %d, %+v", status, sent)
	}
	if status, _ := send("/upload/inbox/page.html", "", "<script>"); status != http.StatusCreated {
		t.Fatalf("a page answers %d", status)
	}
	if status, _ := send("/upload/other/a", "", "x"); status != http.StatusUnauthorized {
		t.Errorf("another tag answers %d to one without a key", status)
	}
	status, private := send("/upload/private/a.txt", s.key, "x")
	if status != http.StatusCreated {
		t.Fatalf("the key's own tag answers %d", status)
	}
	var tag struct {
		ProjectID string `json:"project_id"`
		Counts    map[string]int
	}
	ready := func(name string, n int) func() bool {
		return func() bool {
			s.call("GET", "/v1/tags/"+name, nil, &tag)
			return tag.Counts["Ready"] == n
		}
	}
	s.waitFor("the files to be Ready", ready("inbox", 2))
	if got := fetchAs(t, http.DefaultClient, sent.URL, http.StatusOK); got != picture {
		t.Errorf("the photo comes back with %d bytes", len(got))
	}
	archive := fetchAs(t, http.DefaultClient, s.url+"/tags/inbox.zip", http.StatusOK)
	z, err := zip.NewReader(bytes.NewReader([]byte(archive)), int64(len(archive)))
	if err != nil || len(z.File) != 2 {
		t.Fatalf("the zip: %v", err)
	}
	if page := fetchAs(t, http.DefaultClient, s.url+"/tags/inbox", http.StatusOK); !strings.Contains(page, `data-tag="inbox"`) {
		t.Errorf("the page of the tag is %s", page)
	}

	// Who is signed in reads by his session what else takes a key.
	s.waitFor("the file to be Ready", ready("private", 1))
	fetchAs(t, http.DefaultClient, private.URL, http.StatusUnauthorized)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	resp, err := browser.PostForm(s.url+"/sign-in", url.Values{"key": {s.key}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := fetchAs(t, browser, private.URL, http.StatusOK); got != "x" {
		t.Errorf("the file is %q", got)
	}
	fetchAs(t, browser, s.url+"/tags/private.zip", http.StatusOK)

	// The tag stays when it is no longer open.
	s.stop()
	path := filepath.Join(t.TempDir(), "c.yaml")
	write(t, path, []byte("tags: {public: [inbox], min_free: 1000TiB}\n"))
	key := s.key
	s = start(t, data, "--config", path)
	s.key = key
	if status, _ := send("/upload/inbox/b.jpg", "", "b"); status != http.StatusUnauthorized {
		t.Errorf("the closed tag answers %d", status)
	}
	if status, _ := send("/upload/inbox/b.jpg", s.key, "b"); status != http.StatusInsufficientStorage {
		t.Errorf("a disk without the room that is to be left free answers %d", status)
	}
	if again := fetchAs(t, http.DefaultClient, s.url+"/tags/inbox.zip", http.StatusOK); again != archive {
		t.Error("the zip is another one")
	}
}

// TestKillInTheFirstFile kills the program while a tag's first file comes: there is no
// such tag then, and it comes to be by the next file.
func TestKillInTheFirstFile(t *testing.T) {
	data := dataFolder(t)
	s := start(t, data)
	body, half := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.url+"/upload/fresh/a.bin", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	broken := make(chan struct{})
	go func() {
		defer close(broken)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	if _, err := half.Write(make([]byte, 24<<20)); err != nil { // the first parts are in the bucket
		t.Fatal(err)
	}
	key := s.key
	s.kill()
	_ = half.CloseWithError(io.ErrUnexpectedEOF)
	<-broken

	s = start(t, data)
	s.key = key
	var list struct{ Tags []struct{ Name string } }
	if status := s.call("GET", "/v1/tags", nil, &list); status != http.StatusOK || len(list.Tags) > 0 {
		t.Errorf("the tags are %+v, %d", list, status)
	}
	var projects struct{ Projects []struct{ Name string } }
	if status := s.call("GET", "/v1/projects", nil, &projects); status != http.StatusOK || len(projects.Projects) > 0 {
		t.Errorf("the projects are %+v, %d", projects, status)
	}
	again, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.url+"/upload/fresh/a.bin", strings.NewReader("a"))
	if err != nil {
		t.Fatal(err)
	}
	again.Header.Set("Authorization", "Bearer "+s.key)
	resp, err := http.DefaultClient.Do(again)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if s.call("GET", "/v1/tags", nil, &list); resp.StatusCode != http.StatusCreated || len(list.Tags) != 1 {
		t.Errorf("sent again it answers %d, and the tags are %+v", resp.StatusCode, list)
	}
}

// fetchAs reads an address with what redirects lead to.
func fetchAs(t *testing.T, client *http.Client, address string, status int) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != status {
		t.Fatalf("%s answers %d, want %d: %.300s", address, resp.StatusCode, status, text)
	}
	return string(text)
}

func TestTagsConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	write(t, path, []byte("tags:\n  anonymous: [digital, a/b]\n  public: [x.zip]\n  quota: much\n"))
	if _, out := runCommand(t, nil, "config", "check", path); !containsLine(out, "line 4", `"much" is not a size`) {
		t.Errorf("a quota that is none is not told:\n%s", out)
	}
	write(t, path, []byte("tags:\n  anonymous: [digital, a/b]\n  public: [x.zip]\n  quota: 10GiB\n"))
	if _, out := runCommand(t, nil, "config", "check", path); !containsLine(out, "line 2", "tags.anonymous.1", `"a/b"`) || !containsLine(out, "line 3", "x.zip") {
		t.Errorf("names that are none are not told:\n%s", out)
	}
	// One word is a list of one, and a name has one way to be written in Unicode.
	write(t, path, []byte("tags: {anonymous: inbox, public: [cafe\u0301]}\n"))
	if code, out := runCommand(t, nil, "config", "check", path); code != 0 {
		t.Errorf("one word is refused: %d\n%s", code, out)
	}
	short := defaults()
	if err := yaml.Unmarshal([]byte("tags: {anonymous: Inbox, public: [cafe\u0301]}"), &short); err != nil {
		t.Fatal(err)
	}
	if short.Tags.addLAN(); !slices.Equal(short.Tags.Anonymous, []string{"Inbox"}) || !slices.Equal(short.Tags.Public, []string{"caf\u00e9", "inbox"}) {
		t.Errorf("the tags are %+v", short.Tags)
	}
	write(t, path, []byte("tags: {anonymous: [digital], public: [digital], quota: 10GiB, min_free: 2GiB}\n"))
	c, err := (configFlags{ConfigFile: path}).load(nil)
	if err != nil {
		t.Fatal(err)
	}
	if p := c.Tags.policy(); p.QuotaBytes != 10<<30 || p.MinFreeBytes != 2<<30 || p.Anonymous[0] != "digital" || p.Public[0] != "digital" {
		t.Errorf("the policy is %+v", p)
	}
	c.Tags.addLAN()
	c.Tags.addLAN()
	if strings.Join(c.Tags.Anonymous, " ") != "digital inbox" || strings.Join(c.Tags.Public, " ") != "digital inbox" {
		t.Errorf("--lan opens %v and shows %v", c.Tags.Anonymous, c.Tags.Public)
	}
}
