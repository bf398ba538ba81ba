package rest

import (
	"net/http"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

func TestTags(t *testing.T) {
	f := open(t)
	f.tags.Policy = broker.TagPolicy{Anonymous: []string{"inbox"}, Public: []string{"inbox"}}
	if err := f.tags.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.tags.Prepare(t.Context()); err != nil { // again changes nothing
		t.Fatal(err)
	}
	makeTag := func(name string, by broker.Caller) broker.Project {
		t.Helper()
		p := broker.Project{ID: broker.NewID(time.Now()), OwnerID: by.Owner.ID, Name: name, Kind: broker.KindFiles, Tag: name, CreatedAt: time.Now()}
		if err := f.store.CreateProject(t.Context(), p, by); err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := makeTag("mine", f.by)
	_, otherBy, otherSecret := f.newOwner(t, "grace@example.com", broker.NewKey{})
	makeTag("hers", otherBy)
	f.readyImage(t, p.ID, "a.jpg", "content")
	_, blind := f.newKey(t, f.owner, broker.NewKey{Scopes: []broker.Scope{broker.ScopeUpload}})

	get := func(path, secret string, status int, into any) {
		t.Helper()
		a := f.call(t, secret, http.MethodGet, path, nil)
		if a.status != status {
			t.Errorf("%s answers %d, want %d: %s", path, a.status, status, a.body)
		} else if into != nil {
			a.into(t, into)
		}
	}
	for _, c := range []struct {
		about, secret string
		want          []string
	}{
		{"nobody", "", []string{"inbox"}},
		{"the owner", f.secret, []string{"mine", "inbox"}},
		{"another", otherSecret, []string{"hers", "inbox"}},
		{"one who may not read", blind, []string{"inbox"}},
	} {
		var page TagPage
		get("/v1/tags", c.secret, http.StatusOK, &page)
		var got []string
		for _, tag := range page.Tags {
			got = append(got, tag.Name)
		}
		if len(got) != len(c.want) || got[0] != c.want[0] || got[len(got)-1] != c.want[len(c.want)-1] {
			t.Errorf("%s is told of %q, want %q", c.about, got, c.want)
		}
	}

	var mine Tag
	get("/v1/tags/mine", f.secret, http.StatusOK, &mine)
	if mine.ProjectID != p.ID || !mine.Own || mine.Anonymous || mine.Public || mine.Counts["Ready"] != 1 || mine.Bytes != int64(len("content")) ||
		mine.Upload != f.URL+"/upload/mine" || mine.Zip != f.URL+"/tags/mine.zip" {
		t.Errorf("the tag is %+v", mine)
	}
	var inbox Tag
	get("/v1/tags/inbox", "", http.StatusOK, &inbox)
	if inbox.Own || !inbox.Anonymous || !inbox.Public || inbox.Counts["Ready"] != 0 {
		t.Errorf("the tag is %+v", inbox)
	}
	// However somebody writes it, also by letters that the database does not fold.
	f.tags.Policy = broker.TagPolicy{Anonymous: []string{"inbox", "news"}, Public: []string{"inbox", "news"}}
	for _, name := range []string{"news", "News", "new%C5%BF"} {
		var news Tag
		if get("/v1/tags/"+name, "", http.StatusOK, &news); news.Name != "news" {
			t.Errorf("%s is the tag %+v", name, news)
		}
	}
	f.tags.Policy = broker.TagPolicy{Anonymous: []string{"inbox"}, Public: []string{"inbox"}}
	get("/v1/tags/mine", "", http.StatusUnauthorized, nil)
	get("/v1/tags/mine", otherSecret, http.StatusNotFound, nil)
	get("/v1/tags/mine", "ub_nonsense_nonsense", http.StatusUnauthorized, nil)
	get("/v1/tags", "ub_nonsense_nonsense", http.StatusUnauthorized, nil)

	// A removed tag is none, and its name is free, until it comes back beside an empty one.
	if _, err := f.projects.Remove(t.Context(), f.by, p.ID); err != nil {
		t.Fatal(err)
	}
	get("/v1/tags/mine", f.secret, http.StatusNotFound, nil)
	makeTag("mine", f.by)
	if _, err := f.projects.Undo(t.Context(), f.by, p.ID); err != nil {
		t.Errorf("undone beside an empty one: %v", err)
	}
	var again Tag
	get("/v1/tags/mine", f.secret, http.StatusOK, &again)
	if again.ProjectID != p.ID {
		t.Errorf("the tag is %s, want %s", again.ProjectID, p.ID)
	}
}
