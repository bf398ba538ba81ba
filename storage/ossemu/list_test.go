package ossemu

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/aliyun-oss-go-sdk/oss"
	"pgregory.net/rapid"
)

// fill puts files straight into the folder, as somebody does by hand.
func (e emulator) fill(t testing.TB, keys ...string) {
	t.Helper()
	for _, k := range keys {
		p := e.disk.objectPath("photos", k)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(k), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestListThousands(t *testing.T) {
	t.Parallel()
	e := start(t)
	b := e.bucket(t)
	var want []string
	for i := range 12000 {
		want = append(want, fmt.Sprintf("pid%d/%x.jpg", i%3, i*7919))
	}
	e.fill(t, want...)
	slices.Sort(want)
	if got := listAll(t, b, oss.MaxKeys(1000)); !slices.Equal(got, want) {
		t.Errorf("version 2: %s", difference(got, want))
	}
	var got []string
	marker := ""
	for {
		page, err := b.ListObjects(oss.Marker(marker), oss.Prefix("pid1/"), oss.MaxKeys(999))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Objects {
			got = append(got, o.Key)
			if o.Owner.ID != "123456789012" || o.Size != int64(len(o.Key)) || o.StorageClass != "Standard" || time.Since(o.LastModified) > time.Hour {
				t.Fatalf("entry %+v", o)
			}
		}
		if !page.IsTruncated {
			break
		}
		marker = page.NextMarker
	}
	want = slices.DeleteFunc(want, func(k string) bool { return !strings.HasPrefix(k, "pid1/") })
	if !slices.Equal(got, want) {
		t.Errorf("version 1: %s", difference(got, want))
	}
}

// TestListAsTold compares lists with a plain computation over the keys.
func TestListAsTold(t *testing.T) {
	e := start(t)
	b := e.bucket(t, signatures["V4"]...)
	keys := []string{"a", "a!", "a-b", "a/", "a/b", "a/b/c", "a/b/d", "a//", "a0", "b/c/d/e", "b/c/f", "c", "d/1", "d/2", "d2/1", "photo 1", "photo 2"}
	for _, k := range keys {
		if err := b.PutObject(k, strings.NewReader(k)); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(keys)
	some := rapid.OneOf(rapid.Just(""), rapid.SampledFrom(keys), rapid.SampledFrom([]string{"a/b", "b/", "b/c", "d", "e", "photo", "d/"}))
	rapid.Check(t, func(rt *rapid.T) {
		prefix, after := some.Draw(rt, "prefix"), some.Draw(rt, "after")
		delimiter := rapid.SampledFrom([]string{"", "/", "o", "b/"}).Draw(rt, "delimiter")
		limit := rapid.IntRange(1, 9).Draw(rt, "limit")
		var want []string
		for _, k := range keys {
			if k <= after || !strings.HasPrefix(k, prefix) {
				continue
			}
			if i := strings.Index(k[len(prefix):], delimiter); delimiter != "" && i >= 0 {
				k = k[:len(prefix)+i+len(delimiter)]
			}
			if len(want) == 0 || want[len(want)-1] != k {
				want = append(want, k)
			}
		}
		var got []string
		token := ""
		for {
			page, err := b.ListObjectsV2(oss.Prefix(prefix), oss.Delimiter(delimiter), oss.StartAfter(after), oss.MaxKeys(limit), oss.ContinuationToken(token))
			if err != nil {
				rt.Fatal(err)
			}
			here := append([]string{}, page.CommonPrefixes...)
			for _, o := range page.Objects {
				here = append(here, o.Key)
			}
			if len(here) > limit || page.IsTruncated && len(here) != limit {
				rt.Fatalf("%d entries on a page of %d", len(here), limit)
			}
			got = append(got, here...)
			if !page.IsTruncated {
				break
			}
			if page.NextContinuationToken == token {
				rt.Fatalf("the page behind %q is the same again", token)
			}
			token = page.NextContinuationToken
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			rt.Fatalf("got %q, want %q", got, want)
		}
	})
}

func TestListRefuses(t *testing.T) {
	e := start(t)
	for _, query := range []string{"max-keys=0", "max-keys=1001", "max-keys=-1", "max-keys=x", "encoding-type=base64", "list-type=3", "list-type=2&continuation-token=%25"} {
		wantError(t, e.send(t, "GET", "/photos/?"+query, nil), 400, "InvalidArgument")
	}
}

// TestListText reads a list without encoding-type, which only XML escapes.
func TestListText(t *testing.T) {
	e := start(t)
	e.fill(t, "a+b &<c>%20/é")
	body := text(t, e.send(t, "GET", "/photos/?prefix=a%2B", nil).Body)
	for _, want := range []string{"<Key>a+b &amp;&lt;c&gt;%20/é</Key>", "<Prefix>a+</Prefix>", "<Owner><ID>123456789012</ID><DisplayName>123456789012</DisplayName></Owner>", "<MaxKeys>100</MaxKeys>"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
	if body := text(t, e.send(t, "GET", "/photos/?list-type=2", nil).Body); strings.Contains(body, "Owner") || !strings.Contains(body, "<KeyCount>1</KeyCount>") {
		t.Error(body)
	}
	if body := text(t, e.send(t, "GET", "/photos/?list-type=2&fetch-owner=true", nil).Body); !strings.Contains(body, "<Owner>") {
		t.Error(body)
	}
}
