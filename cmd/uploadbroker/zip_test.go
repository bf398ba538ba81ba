package main

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestZipOfTheWholeProduct: from photos in a folder to the same photos in a zip, by
// the program's own commands; a download outlives the server's kill -9; one whose
// object changed never ends well.
func TestZipOfTheWholeProduct(t *testing.T) {
	t.Parallel()
	files := map[string][]byte{}
	for i, name := range []string{"a.jpg", "100MEDIA/DJI_0001.JPG", "101MEDIA/DJI_0001.JPG", "Größe/照片.jpg"} {
		files[name] = photo(uint64(i), 640, 480)
	}
	data := dataFolder(t)
	s := start(t, data)
	if code, out := s.client("upload", folder(t, files), "--new", "tower"); code != 0 {
		t.Fatalf("upload ended with %d:\n%s", code, out)
	}
	pid := s.project("tower")
	path := filepath.Join(t.TempDir(), "tower.zip")
	if code, out := s.client("zip", "tower", "-o", path); code != 0 {
		t.Fatalf("zip ended with %d:\n%s", code, out)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := zip.NewReader(bytes.NewReader(whole), int64(len(whole)))
	if err != nil || len(r.File) != len(files) {
		t.Fatalf("%v", err)
	}
	for _, f := range r.File {
		rc, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(rc); err != nil || !bytes.Equal(got, files[f.Name]) {
			t.Errorf("%s holds other bytes (%v)", f.Name, err)
		}
	}

	// Another process answers for the rest, by the link and the ETag of before.
	var link struct{ URL string }
	if code := s.call("POST", "/v1/projects/"+pid+"/zip/link", map[string]any{"expires_in": 600}, &link); code != http.StatusOK {
		t.Fatalf("a link: %d", code)
	}
	get := func(url string, headers ...string) (*http.Response, []byte, error) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, nil, err
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		return res, b, err
	}
	first, _, err := get(link.URL, "Range", "bytes=0-99")
	if err != nil || first.StatusCode != http.StatusPartialContent {
		t.Fatalf("%v, %v", first, err)
	}
	s.kill()
	token := link.URL[strings.LastIndexByte(link.URL, '/'):]
	s2 := start(t, data)
	s2.key = s.key
	url := s2.url + "/v1/zips" + token
	res, rest, err := get(url, "Range", "bytes=100-", "If-Range", first.Header.Get("ETag"))
	if err != nil || res.StatusCode != http.StatusPartialContent || !bytes.Equal(rest, whole[100:]) {
		t.Errorf("after kill -9: %v with %d bytes, %v", res, len(rest), err)
	}

	// A file of the bucket is overwritten behind everybody's back.
	var changed bool
	err = filepath.WalkDir(filepath.Join(data, "objects"), func(p string, d os.DirEntry, err error) error {
		if err == nil && !changed && d.Type().IsRegular() && strings.HasSuffix(p, ".jpg") && !strings.Contains(p, "thumbs") {
			changed = true
			info, err := d.Info()
			if err != nil {
				return err
			}
			return os.WriteFile(p, bytes.Repeat([]byte("x"), int(info.Size())), 0o600)
		}
		return err
	})
	if err != nil || !changed {
		t.Fatalf("no object was found: %v", err)
	}
	if _, got, err := get(url); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%d bytes of %d, error %v", len(got), len(whole), err)
	}
}
