package rest

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// role is somebody who calls, and what a test needs to know to say what he gets.
type role struct {
	name   string
	secret string
	good   bool // shows a good key
	scopes []broker.Scope
	sees   bool // the project is his, and his key is not tied to another
	tied   bool // to some project
}

// roles are made anew for each project, for some keys are tied to it.
func (f *fixture) roles(t *testing.T, others *others, pid string) []role {
	t.Helper()
	_, tied := f.newKey(t, f.owner, broker.NewKey{Scopes: broker.AllScopes(), ProjectID: pid})
	list := []role{
		{name: "nobody"},
		{name: "a nonsense key", secret: "nonsense"},
		{name: "a revoked key", secret: others.revoked},
		{name: "an expired key", secret: others.expired},
		{name: "all scopes", secret: f.secret, good: true, scopes: broker.AllScopes(), sees: true},
		{name: "another owner with all scopes", secret: others.all, good: true, scopes: broker.AllScopes()},
		{name: "another owner's admin", secret: others.admin, good: true, scopes: []broker.Scope{broker.ScopeAdmin}},
		{name: "tied to this project", secret: tied, good: true, scopes: broker.AllScopes(), sees: true, tied: true},
		{name: "tied to another project", secret: others.elsewhere, good: true, scopes: broker.AllScopes(), tied: true},
	}
	for _, scope := range broker.AllScopes() {
		list = append(list, role{name: "only " + string(scope), secret: others.single[scope], good: true, scopes: []broker.Scope{scope}, sees: true})
	}
	return list
}

// others are the keys that do not depend on a project.
type others struct {
	revoked, expired, all, admin, elsewhere string
	single                                  map[broker.Scope]string
}

func (f *fixture) others(t *testing.T) *others {
	t.Helper()
	o := &others{single: map[broker.Scope]string{}}
	key, secret := f.newKey(t, f.owner, broker.NewKey{Scopes: broker.AllScopes()})
	if _, err := f.keys.Store.RevokeKey(t.Context(), key.ID, time.Now()); err != nil {
		t.Fatal(err)
	}
	o.revoked = secret
	_, o.expired = f.newKey(t, f.owner, broker.NewKey{Scopes: broker.AllScopes(), TTL: time.Nanosecond})
	var bob broker.Owner
	bob, _, o.all = f.newOwner(t, "bob@example.com", broker.NewKey{Scopes: broker.AllScopes()})
	_, o.admin = f.newKey(t, bob, broker.NewKey{Scopes: []broker.Scope{broker.ScopeAdmin}})
	_, o.elsewhere = f.newKey(t, f.owner, broker.NewKey{Scopes: broker.AllScopes(), ProjectID: f.newProject(t)})
	for _, scope := range broker.AllScopes() {
		_, o.single[scope] = f.newKey(t, f.owner, broker.NewKey{Scopes: []broker.Scope{scope}})
	}
	return o
}

// expect says what a role gets from an operation, from nothing but what the
// description declares: the scope, and whether it speaks of one project.
func expect(t *testing.T, o operation, r role) (int, broker.Code) {
	t.Helper()
	ofProject := strings.Contains(o.path, "{pid}") || strings.Contains(o.path, "{id}")
	scope := o.scope(t)
	switch {
	case !r.good:
		return http.StatusUnauthorized, broker.CodeUnauthenticated
	case scope != anyScope && !slices.Contains(r.scopes, scope):
		return http.StatusForbidden, broker.CodeNotAllowed
	case ofProject && !r.sees:
		return http.StatusNotFound, broker.CodeNotFound
	case !ofProject && o.method == http.MethodPost && r.tied && o.ID != "createKey": // which makes one that is tied, too
		return http.StatusForbidden, broker.CodeNotAllowed // a tied key makes nothing outside of its project
	}
	return o.success(t), ""
}

// TestEveryOperationForEveryRole is the matrix of who may do what.
func TestEveryOperationForEveryRole(t *testing.T) {
	f := open(t)
	o := f.others(t)
	cells := 0
	for _, op := range f.operations(t) {
		t.Run(op.ID, func(t *testing.T) {
			pid := f.newProject(t)
			img := f.sampleImage(t, op, pid)
			roles := f.roles(t, o, pid)
			var allowed []role
			f.unchanged(t, "a refused call", func() {
				for _, r := range roles {
					status, code := expect(t, op, r)
					if code == "" {
						allowed = append(allowed, r)
						continue
					}
					cells++
					a := f.call(t, r.secret, op.method, op.at(pid, img.ID), sampleBody(t, op, img.ID))
					if a.status != status {
						t.Errorf("%s: %d, want %d: %s", r.name, a.status, status, a.body)
						continue
					}
					if p := a.problem(t); p.Code != code {
						t.Errorf("%s: code %s, want %s", r.name, p.Code, code)
					}
					if challenge := a.header.Get("WWW-Authenticate"); (status == http.StatusUnauthorized) != (challenge != "") {
						t.Errorf("%s: WWW-Authenticate %q with status %d", r.name, challenge, status)
					}
					if status == http.StatusNotFound {
						f.looksAbsent(t, op, r, pid, img.ID, a)
					}
				}
			})
			for _, r := range allowed {
				cells++
				// Each on a project of its own: one role's removal is not the next one's.
				pid := f.newProject(t)
				img := f.sampleImage(t, op, pid)
				secret := r.secret
				if r.tied {
					_, secret = f.newKey(t, f.owner, broker.NewKey{Scopes: r.scopes, ProjectID: pid})
				}
				a := f.call(t, secret, op.method, op.at(pid, img.ID), sampleBody(t, op, img.ID))
				if a.status != op.success(t) {
					t.Errorf("%s: %d, want %d: %s", r.name, a.status, op.success(t), a.body)
				}
			}
			if len(allowed) == 0 {
				t.Error("no role may do this")
			}
		})
	}
	if want := 13 * len(f.operations(t)); cells != want {
		t.Errorf("%d cells were tried, want %d", cells, want)
	}
}

// looksAbsent compares the answer for another's project with that for one that
// does not exist: they differ in nothing but the id.
func (f *fixture) looksAbsent(t *testing.T, op operation, r role, pid, imageID string, got answer) {
	t.Helper()
	absent := broker.NewID(time.Now())
	a := f.call(t, r.secret, op.method, op.at(absent, imageID), sampleBody(t, op, imageID))
	want := strings.ReplaceAll(string(a.body), absent, pid)
	if a.status != got.status || want != string(got.body) {
		t.Errorf("%s: another's project answers\n%d %s\nan absent one\n%d %s", r.name, got.status, got.body, a.status, a.body)
	}
	for _, h := range []answer{a, got} {
		h.header.Del("Date")
		h.header.Del("X-Request-Id")
	}
	for name := range a.header {
		if a.header.Get(name) != got.header.Get(name) {
			t.Errorf("%s: the header %s is %q, and %q where there is no project", r.name, name, got.header.Get(name), a.header.Get(name))
		}
	}
	if len(a.header) != len(got.header) {
		t.Errorf("%s: headers %v, and %v where there is no project", r.name, got.header, a.header)
	}
}

// TestListsHoldOnesOwn: what has no project in its path must not tell of others'.
func TestListsHoldOnesOwn(t *testing.T) {
	f := open(t)
	o := f.others(t)
	mine := f.newProject(t)
	_, tied := f.newKey(t, f.owner, broker.NewKey{Scopes: broker.AllScopes(), ProjectID: mine})
	for _, c := range []struct {
		name, secret, query string
		sees                bool
	}{
		{"owner", f.secret, "", true},
		{"owner, by id", f.secret, "?q=" + mine, true},
		{"owner, by name", f.secret, "?q=North%20face", true},
		{"another owner", o.all, "", false},
		{"another owner, by id", o.all, "?q=" + mine, false},
		{"another owner, by name", o.all, "?q=North%20face", false},
		{"tied to it", tied, "", true},
		{"tied elsewhere", o.elsewhere, "", false},
		{"tied elsewhere, by id", o.elsewhere, "?q=" + mine, false},
	} {
		a := f.call(t, c.secret, http.MethodGet, "/v1/projects"+c.query, nil)
		if a.status != http.StatusOK || strings.Contains(string(a.body), mine) != c.sees {
			t.Errorf("%s: %d %s", c.name, a.status, a.body)
		}
	}
}

// TestImagesStayInTheirProject: an image's id under another project of the same
// owner is not there, whatever the operation.
func TestImagesStayInTheirProject(t *testing.T) {
	f := open(t)
	mine, other := f.newProject(t), f.newProject(t)
	img := f.newImage(t, mine, "mine")
	f.unchanged(t, "naming an image under another project", func() {
		for _, op := range f.operations(t) {
			if !strings.Contains(op.path, "{id}") || !strings.Contains(op.path, "{pid}") {
				continue
			}
			a := f.call(t, f.secret, op.method, op.at(other, img.ID), nil)
			if a.status != http.StatusNotFound || a.problem(t).Code != broker.CodeNotFound {
				t.Errorf("%s: %d %s", op.ID, a.status, a.body)
			}
		}
	})
	for _, action := range []string{"start", "done", "regrant"} {
		before := f.snapshot(t)
		var rs Results
		f.ok(t, http.MethodPost, "/v1/projects/"+other+"/images/"+action, map[string]any{"ids": []string{img.ID}}, &rs)
		if len(rs.Results) != 1 || rs.Results[0].Status != "problem" || rs.Results[0].Problem.Code != broker.CodeNotFound || rs.Results[0].Image != nil {
			t.Errorf("%s: %+v", action, rs.Results)
		}
		after := f.snapshot(t)
		for _, table := range []string{"images", "grants", "audit"} {
			if before[table] != after[table] {
				t.Errorf("%s changed %s", action, table)
			}
		}
	}
}
