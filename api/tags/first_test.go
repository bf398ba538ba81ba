package tags

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// rows are the projects of a name that the database has, seen or not.
func (f *fixture) rows(t *testing.T, tag string) (n int) {
	t.Helper()
	if err := f.store.Pool().QueryRow(t.Context(), "SELECT count(*) FROM projects WHERE tag = $1", tag).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// waitForRows waits for uploads to have come so far.
func (f *fixture) waitForRows(t *testing.T, tag string, want int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for f.rows(t, tag) != want {
		select {
		case <-ctx.Done():
			t.Fatalf("there are never %d projects of the tag %s", want, tag)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// everything is all that lies in the bucket, also what is not finished.
func (f *fixture) everything(t *testing.T) map[string]bool {
	t.Helper()
	keys := map[string]bool{}
	for o, err := range f.bucket.All(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		keys[o.Key] = true
	}
	parts, err := f.bucket.Multiparts(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range parts {
		keys["unfinished "+part.Key] = true
	}
	return keys
}

// wantNoTag: nothing is there of a tag, and nothing is told of it.
func (f *fixture) wantNoTag(t *testing.T, tag string) {
	t.Helper()
	if n := f.rows(t, tag); n > 0 {
		t.Errorf("%d projects were left", n)
	}
	if f.lists(t, tag) {
		t.Error("it is listed")
	}
	var audits int
	if err := f.store.Pool().QueryRow(t.Context(), "SELECT count(*) FROM audit WHERE action LIKE 'project.%' AND detail->>'name' = $1", tag).Scan(&audits); err != nil || audits > 0 {
		t.Errorf("%d lines of audit, %v", audits, err)
	}
}

// lists reports whether the first owner is told of a tag.
func (f *fixture) lists(t *testing.T, tag string) bool {
	t.Helper()
	by, err := f.keys.Authenticate(t.Context(), f.firstKey)
	if err != nil {
		t.Fatal(err)
	}
	list, err := f.tags.List(t.Context(), by, broker.Page{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(list, func(l broker.Tag) bool { return l.Tag == tag })
}

// sendHalf begins an upload with a key and leaves it in the middle.
func (f *fixture) sendHalf(t *testing.T, path string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", f.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	half := strings.Repeat("x", 6<<20)
	if _, err := fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", path, f.firstKey, 2*len(half), half); err != nil {
		t.Fatal(err)
	}
	return conn
}

// A tag comes to be with its first whole file: one that is cut or refused makes none.
func TestNoTagWithoutAFile(t *testing.T) {
	f := open(t)
	before := f.everything(t)
	conn := f.sendHalf(t, "/upload/fresh/cut.jpg")
	f.waitForRows(t, "fresh", 1)
	if f.lists(t, "fresh") {
		t.Error("it is listed while its first file comes")
	}
	// Should this process be killed now, the sweep of removed projects cleans up.
	for after, want := range map[time.Duration]int{0: 0, 25 * time.Hour: 1} {
		if swept, err := f.store.ClaimRemovedProjects(t.Context(), time.Now().Add(after), 10); err != nil || len(swept) != want {
			t.Errorf("%d projects are swept after %v, %v", len(swept), after, err)
		}
	}
	_ = conn.Close()
	<-f.ended
	f.wantNoTag(t, "fresh")

	tooMuch := strings.Repeat("x", maxObject+1)
	for about, body := range map[string]io.Reader{"too large": strings.NewReader(tooMuch), "too large, chunked": streamed{strings.NewReader(tooMuch)}} {
		f.do(t, "PUT", "/upload/fresh/"+strings.ReplaceAll(about, " ", "_"), f.firstKey, body).want(t, http.StatusRequestEntityTooLarge)
		f.wantNoTag(t, "fresh")
	}
	noFile, formType := form(`form-data; name="note"`, "no file")
	f.do(t, "POST", "/upload/fresh", f.firstKey, strings.NewReader(noFile), "Content-Type", formType).want(t, http.StatusUnprocessableEntity)
	f.wantNoTag(t, "fresh")
	if after := f.everything(t); len(after) != len(before) {
		t.Errorf("%d objects were %d", len(after), len(before))
	}

	// A form that is refused in part makes it by what is whole.
	body, contentType := form(`form-data; name="a"; filename="huge.bin"`, tooMuch, `form-data; name="b"; filename="b"`, "b", `form-data; name="c"; filename="c"`, "c")
	f.do(t, "POST", "/upload/fresh", f.firstKey, strings.NewReader(body), "Content-Type", contentType).want(t, http.StatusMultiStatus)
	if all := f.objects(t, "fresh"); len(all) != 2 || f.rows(t, "fresh") != 1 {
		t.Errorf("there are %q in %d projects", all, f.rows(t, "fresh"))
	}
}

// Two first files at once make one tag, also when one of them breaks off.
func TestTwoFirstFiles(t *testing.T) {
	f := open(t)
	before := f.everything(t)
	conn := f.sendHalf(t, "/upload/fresh/cut.jpg")
	f.waitForRows(t, "fresh", 1)
	slow, pipe := io.Pipe()
	done := make(chan answered, 1)
	go func() { done <- f.do(t, "PUT", "/upload/fresh/slow.jpg", f.firstKey, slow) }()
	if _, err := io.WriteString(pipe, large()); err != nil {
		t.Fatal(err)
	}
	f.waitForRows(t, "fresh", 2)

	quick := f.put(t, "/upload/fresh/quick.jpg", f.firstKey, "quick").want(t, http.StatusCreated)
	_ = conn.Close()
	if _, err := io.WriteString(pipe, "!"); err != nil {
		t.Fatal(err)
	}
	_ = pipe.Close()
	last := (<-done).want(t, http.StatusCreated)
	for range 3 {
		<-f.ended
	}
	for _, got := range []struct {
		answered
		content string
	}{{quick, "quick"}, {last, large() + "!"}} {
		if img := f.image(t, "fresh", got.ID); f.content(t, img) != got.content {
			t.Errorf("%s has other bytes", got.Name)
		}
	}
	if n := f.rows(t, "fresh"); n != 1 {
		t.Errorf("%d projects of the tag", n)
	}
	all := f.objects(t, "fresh")
	for key := range f.everything(t) {
		if !before[key] && len(all) == 2 && key != all[0] && key != all[1] {
			t.Errorf("%s was left", key)
		}
	}
	if len(all) != 2 {
		t.Errorf("the tag has %q", all)
	}

	// The tag is another's who was quicker: then it takes no file of this one.
	slow, pipe = io.Pipe()
	go func() { done <- f.do(t, "PUT", "/upload/raced/slow.jpg", f.firstKey, slow) }()
	if _, err := io.WriteString(pipe, "slow"); err != nil {
		t.Fatal(err)
	}
	f.waitForRows(t, "raced", 1)
	f.put(t, "/upload/raced/quick.jpg", f.special, "quick").want(t, http.StatusCreated)
	_ = pipe.Close()
	(<-done).want(t, http.StatusForbidden)
	if n := f.rows(t, "raced"); n != 1 || len(f.objects(t, "raced")) != 1 {
		t.Errorf("%d projects of the tag, %q", n, f.objects(t, "raced"))
	}
}
