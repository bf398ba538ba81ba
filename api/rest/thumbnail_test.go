package rest

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

func thumbnailPath(img broker.Image) string {
	return "/v1/projects/" + img.ProjectID + "/images/" + img.ID + "/thumbnail"
}

// TestThumbnail: the link leads to the picture, for a browser and for a program that
// goes on showing its key.
func TestThumbnail(t *testing.T) {
	f := open(t)
	img := f.newImage(t, f.newProject(t), "one")
	f.judge(t, img)
	picture := "\xff\xd8\xff stands for a JPEG"
	key := broker.ThumbKey(img.ProjectID, img.ID)
	if _, err := localBucket(t).Put(t.Context(), key, bytes.NewReader([]byte(picture)), storage.PutOptions{ContentType: broker.ThumbType, SizeBytes: int64(len(picture))}); err != nil {
		t.Fatal(err)
	}
	f.exec(t, `UPDATE images SET facts = facts || '{"rel_alt_m": 60.5, "gimbal": {"pitch": -90, "roll": 0, "yaw": 41.5}}' WHERE id = $1`, img.ID)
	var told Image
	f.ok(t, http.MethodGet, "/v1/projects/"+img.ProjectID+"/images/"+img.ID, nil, &told)
	if told.Facts == nil || told.Facts.Thumbnail == nil || *told.Facts.Thumbnail != (Thumbnail{3, 2}) ||
		told.Facts.Gimbal == nil || *told.Facts.Gimbal != (Gimbal{Pitch: -90, Yaw: 41.5}) || told.Facts.RelAltM == nil || *told.Facts.RelAltM != 60.5 {
		t.Errorf("the image tells %+v", told.Facts)
	}
	a := f.call(t, f.secret, http.MethodGet, thumbnailPath(img), nil)
	location := a.header.Get("Location")
	if a.status != http.StatusFound || !strings.HasPrefix(location, f.URL+"/local-bucket/"+key+"?") || len(a.body) != 0 {
		t.Fatalf("%d to %q: %s", a.status, location, a.body)
	}
	if head := f.call(t, f.secret, http.MethodHead, thumbnailPath(img), nil); head.status != http.StatusFound || !strings.HasPrefix(head.header.Get("Location"), f.URL+"/local-bucket/"+key+"?") {
		t.Errorf("HEAD: %d %v", head.status, head.header)
	}
	if cache := a.header.Get("Cache-Control"); !strings.HasPrefix(cache, "private") {
		t.Errorf("the answer may be kept: %q", cache)
	}
	if !strings.Contains(location, "X-Amz-Expires=600&") {
		t.Errorf("it does not live for ten minutes: %s", location)
	}
	for _, auth := range []string{"", "Bearer " + f.secret} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, location, nil)
		if err != nil {
			t.Fatal(err)
		}
		if auth != "" {
			r.Header.Set("Authorization", auth)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || string(got) != picture || resp.Header.Get("Content-Type") != "image/jpeg" || strings.HasPrefix(resp.Header.Get("Content-Disposition"), "attachment") {
			t.Errorf("the link gives %d %q, %v", resp.StatusCode, got, resp.Header)
		}
	}
	// It reads, and no more.
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, location, strings.NewReader("mine"))
	if err != nil {
		t.Fatal(err)
	}
	if a := f.send(t, r); a.status != http.StatusForbidden {
		t.Errorf("the link lets one write: %d %s", a.status, a.body)
	}
}

// TestNoThumbnail is told apart from no image.
func TestNoThumbnail(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	corrupt := broker.Reasonf(broker.ReasonCorrupt, "so it is")
	for name, c := range map[string]struct {
		prepare func(img broker.Image)
		code    broker.Code
	}{
		"open":     {func(broker.Image) {}, broker.CodeNoThumbnail},
		"Uploaded": {func(img broker.Image) { f.see(t, img) }, broker.CodeNoThumbnail},
		"Invalid":  {func(img broker.Image) { f.judge(t, img, corrupt) }, broker.CodeNoThumbnail},
		"accepted": {func(img broker.Image) { f.judge(t, img, corrupt); f.ok(t, http.MethodPost, acceptPath(img), nil, nil) }, broker.CodeNoThumbnail},
		"Ready without": {func(img broker.Image) {
			f.judge(t, img)
			f.exec(t, `UPDATE images SET facts = facts - 'thumb' WHERE id = $1`, img.ID)
		}, broker.CodeNoThumbnail},
		"removed": {func(img broker.Image) { f.judge(t, img); f.remove(t, img) }, broker.CodeNotFound},
	} {
		img := f.newImage(t, pid, name)
		c.prepare(img)
		a := f.call(t, f.secret, http.MethodGet, thumbnailPath(img), nil)
		if p := a.problem(t); a.status != http.StatusNotFound || p.Code != c.code {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	img := broker.Image{ID: pid, ProjectID: pid}
	if a := f.call(t, f.secret, http.MethodGet, thumbnailPath(img), nil); a.status != http.StatusNotFound || a.problem(t).Code != broker.CodeNotFound {
		t.Errorf("of no image: %d %s", a.status, a.body)
	}
}
