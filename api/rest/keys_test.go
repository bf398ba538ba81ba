package rest

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// TestKeys: made, used, listed without its secret, ended.
func TestKeys(t *testing.T) {
	f := open(t)
	a := f.call(t, f.secret, http.MethodPost, "/v1/keys", map[string]any{
		"name": "drone in the van", "scopes": []string{"upload", "read", "read"}, "clouds": []string{"S3"}, "expires_in": 3600,
	})
	var made MadeKey
	a.into(t, &made)
	if a.status != http.StatusCreated || a.header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(made.Secret, "ub_") ||
		made.Name != "drone in the van" || !slices.Equal(made.Scopes, []string{"read", "upload"}) || !slices.Equal(made.Clouds, []string{"S3"}) ||
		made.ExpiresAt == nil || time.Until(*made.ExpiresAt).Round(time.Minute) != time.Hour || !made.Live || made.Current || !strings.HasPrefix(made.Secret, made.Hint) {
		t.Fatalf("%d %v %s", a.status, a.header, a.body)
	}
	if a := f.call(t, made.Secret, http.MethodGet, "/v1/projects", nil); a.status != http.StatusOK {
		t.Errorf("the key does not work: %d %s", a.status, a.body)
	}
	a = f.call(t, f.secret, http.MethodGet, "/v1/keys", nil)
	var list OwnKeys
	a.into(t, &list)
	if len(list.Keys) != 2 || list.Keys[0].ID != made.ID || list.Keys[0].LastUsed == nil || !list.Keys[1].Current {
		t.Errorf("%s", a.body)
	}
	if strings.Contains(string(a.body), made.Secret) || strings.Contains(string(a.body), "secret") {
		t.Errorf("the list tells a secret: %s", a.body)
	}
	for range 2 { // the second time changes nothing
		a = f.call(t, f.secret, http.MethodDelete, "/v1/keys/"+made.ID, nil)
		var ended OwnKey
		if a.into(t, &ended); a.status != http.StatusOK || ended.Live || ended.RevokedAt == nil {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if a := f.call(t, made.Secret, http.MethodGet, "/v1/projects", nil); a.status != http.StatusUnauthorized {
		t.Errorf("an ended key works: %d", a.status)
	}
}

// TestKeysGiveNoMoreThanTheyHave: neither scopes, nor projects, clouds or time.
func TestKeysGiveNoMoreThanTheyHave(t *testing.T) {
	f := open(t)
	mine, other := f.newProject(t), f.newProject(t)
	bob, by, _ := f.newOwner(t, "bob@example.com", broker.NewKey{Scopes: broker.AllScopes()})
	bobs, err := f.projects.Create(t.Context(), by, "Bob's", broker.KindRecon)
	if err != nil {
		t.Fatal(err)
	}
	bobsKey, _ := f.newKey(t, bob, broker.NewKey{})
	key := func(n broker.NewKey) string {
		_, secret := f.newKey(t, f.owner, n)
		return secret
	}
	few := key(broker.NewKey{Scopes: []broker.Scope{broker.ScopeRead, broker.ScopeManage}})
	manage := key(broker.NewKey{Scopes: []broker.Scope{broker.ScopeManage}})
	tied := key(broker.NewKey{Scopes: broker.AllScopes(), ProjectID: mine})
	pinned := key(broker.NewKey{Scopes: broker.AllScopes(), Clouds: []broker.Cloud{broker.CloudOSS}})
	brief := key(broker.NewKey{Scopes: broker.AllScopes(), TTL: time.Hour})
	for _, c := range []struct {
		name, by string
		body     map[string]any
		status   int
		check    func(OwnKey) bool
	}{
		{"what it has", few, map[string]any{"scopes": []string{"read"}}, 201, nil},
		{"a scope that it lacks", few, map[string]any{"scopes": []string{"read", "upload"}}, 403, nil},
		{"admin", few, map[string]any{"scopes": []string{"admin"}}, 403, nil},
		{"no scopes named: of read and upload what it has", few, map[string]any{}, 201, func(k OwnKey) bool { return slices.Equal(k.Scopes, []string{"read"}) }},
		{"no scopes named, and it has neither", manage, map[string]any{}, 422, nil},
		{"a scope that is none", f.secret, map[string]any{"scopes": []string{"root"}}, 422, nil},
		{"its own secret", f.secret, map[string]any{"secret": "0123456789abcdefgh"}, 422, nil},
		{"a project", f.secret, map[string]any{"project_id": mine}, 201, func(k OwnKey) bool { return k.ProjectID == mine }},
		{"another's project", f.secret, map[string]any{"project_id": bobs.ID}, 404, nil},
		{"no project at all", f.secret, map[string]any{"project_id": "nonsense"}, 404, nil},
		{"tied: its project by itself", tied, map[string]any{}, 201, func(k OwnKey) bool { return k.ProjectID == mine }},
		{"tied: another project", tied, map[string]any{"project_id": other}, 403, nil},
		{"pinned: its clouds by itself", pinned, map[string]any{}, 201, func(k OwnKey) bool { return slices.Equal(k.Clouds, []string{"OSS"}) }},
		{"pinned: another cloud", pinned, map[string]any{"clouds": []string{"S3"}}, 403, nil},
		{"brief: its time by itself", brief, map[string]any{}, 201, func(k OwnKey) bool { return k.ExpiresAt != nil && time.Until(*k.ExpiresAt) <= time.Hour }},
		{"brief: longer", brief, map[string]any{"expires_in": 7200}, 403, nil},
		{"a second", f.secret, map[string]any{"expires_in": 1}, 422, nil},
		{"a name that is none", f.secret, map[string]any{"name": "a\u0000b"}, 422, nil},
	} {
		a := f.call(t, c.by, http.MethodPost, "/v1/keys", c.body)
		if a.status != c.status {
			t.Errorf("%s: %d, want %d: %s", c.name, a.status, c.status, a.body)
			continue
		}
		if c.check != nil {
			var k OwnKey
			if a.into(t, &k); !c.check(k) {
				t.Errorf("%s: %s", c.name, a.body)
			}
		}
	}

	// Others' keys are not there, nor, for a tied one, what is not tied to its project.
	var list OwnKeys
	f.call(t, tied, http.MethodGet, "/v1/keys", nil).into(t, &list)
	if len(list.Keys) == 0 || slices.ContainsFunc(list.Keys, func(k OwnKey) bool { return k.ProjectID != mine }) {
		t.Errorf("a tied key lists %+v", list.Keys)
	}
	for name, c := range map[string]struct{ by, id string }{
		"another's": {f.secret, bobsKey.ID}, "tied, one that is not": {tied, f.by.Key.ID}, "the beginning of an id": {f.secret, f.by.Key.ID[:20]},
	} {
		if a := f.call(t, c.by, http.MethodDelete, "/v1/keys/"+c.id, nil); a.status != http.StatusNotFound {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if keys, err := f.store.ListKeys(t.Context(), bob.ID); err != nil || slices.ContainsFunc(keys, func(k broker.Key) bool { return k.RevokedAt != nil }) {
		t.Errorf("another's key ended: %v %v", keys, err)
	}
}

// TestImageFile leads to the image, and to nothing that was not proven.
func TestImageFile(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	img := f.newImage(t, pid, "an image")
	path := "/v1/projects/" + pid + "/images/" + img.ID + "/file"
	if a := f.call(t, f.secret, http.MethodGet, path, nil); a.status != http.StatusConflict || a.problem(t).Code != broker.CodeConflict {
		t.Errorf("of one that is not there: %d %s", a.status, a.body)
	}
	f.bring(t, img, "an image")
	a := f.call(t, f.secret, http.MethodGet, path, nil)
	if a.status != http.StatusFound || a.header.Get("Cache-Control") != "private, no-store" {
		t.Fatalf("%d %v %s", a.status, a.header, a.body)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.header.Get("Location"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := f.send(t, r); got.status != http.StatusOK || string(got.body) != "an image" {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// TestInvalidFile leads an owner to what he may accept, as long as it is there.
func TestInvalidFile(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	img := f.newImage(t, pid, "half an image")
	path := "/v1/projects/" + pid + "/images/" + img.ID + "/file"
	refused := func(when, path string) {
		t.Helper()
		if a := f.call(t, f.secret, http.MethodGet, path, nil); a.status != http.StatusConflict || a.problem(t).Code != broker.CodeConflict {
			t.Errorf("%s: %d %s", when, a.status, a.body)
		}
	}
	refused("of one that is not there", path+"?invalid=true")
	f.bring(t, img, "half an image", broker.Reasonf(broker.ReasonTruncated, "so it is"))
	refused("of one that is Invalid, unasked", path)
	a := f.call(t, f.secret, http.MethodGet, path+"?invalid=true", nil)
	if a.status != http.StatusFound || a.header.Get("Cache-Control") != "private, no-store" {
		t.Fatalf("%d %v %s", a.status, a.header, a.body)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.header.Get("Location"), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := f.send(t, r)
	if got.status != http.StatusOK || string(got.body) != "half an image" || !strings.HasPrefix(got.header.Get("Content-Disposition"), "attachment") {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
	// Readers of a public tag are not its owner.
	stranger := broker.Caller{Owner: f.owner, Key: broker.Key{ID: "public", OwnerID: f.owner.ID, Scopes: []broker.Scope{broker.ScopeRead}, ProjectID: pid}}
	if url, err := f.images.InvalidFile(t.Context(), stranger, pid, img.ID); !stranger.Public() || broker.CodeOf(err) != broker.CodeConflict {
		t.Errorf("a stranger gets %q, %v", url, err)
	}
	other := f.newImage(t, pid, "other bytes")
	f.bring(t, other, "other bytes")
	ready := "/v1/projects/" + pid + "/images/" + other.ID + "/file?invalid=true"
	refused("of one that is Ready", ready)
	if a := f.call(t, f.secret, http.MethodGet, ready, nil); !strings.Contains(a.problem(t).Detail, "Ready, not Invalid") {
		t.Errorf("of one that is Ready: %s", a.body)
	}
	f.exec(t, "UPDATE images SET swept_at = now() WHERE id = $1", img.ID)
	refused("of one whose object was deleted", path+"?invalid=true")
	f.remove(t, other)
	if a := f.call(t, f.secret, http.MethodGet, "/v1/projects/"+pid+"/images/"+other.ID+"/file?invalid=true", nil); a.status != http.StatusNotFound {
		t.Errorf("of one that was removed: %d %s", a.status, a.body)
	}
}

// TestPlaceOfCaller: the buckets say where they are, and the answer where the caller
// is, as far as it is known.
func TestPlaceOfCaller(t *testing.T) {
	f := open(t)
	var got Buckets
	f.ok(t, http.MethodGet, "/v1/buckets/nearest", nil, &got)
	if got.From.Address != "127.0.0.1" || got.From.Country != "" || got.From.At != nil {
		t.Errorf("%+v", got.From)
	}
	grants := map[string][]string{}
	for _, b := range got.Buckets {
		grants[b.Symbol] = b.Grants
	}
	if !slices.Equal(grants[nearest], []string{"request"}) || len(grants[sessions]) != 0 {
		t.Errorf("%v", grants)
	}
}

// TestProjectCounts come with a list for the asking.
func TestProjectCounts(t *testing.T) {
	f := open(t)
	empty, full := f.newProject(t), f.newProject(t)
	f.judge(t, f.newImage(t, full, "one"))
	f.newImage(t, full, "two")
	var page ProjectPage
	f.ok(t, http.MethodGet, "/v1/projects?counts=true", nil, &page)
	got := map[string]map[string]int{}
	for _, p := range page.Projects {
		got[p.ID] = p.Counts
	}
	if len(got) != 2 || got[full]["Ready"] != 1 || got[full]["Pending"] != 1 || got[empty] == nil || got[empty]["Ready"] != 0 {
		t.Errorf("%v", got)
	}
	page = ProjectPage{}
	f.ok(t, http.MethodGet, "/v1/projects", nil, &page)
	if page.Projects[0].Counts != nil {
		t.Errorf("counts that nobody asked for: %v", page.Projects[0])
	}
}
