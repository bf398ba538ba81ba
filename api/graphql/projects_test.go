package graphql

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// everything of a project that clients read.
const everything = `id name isImported importedState projectType numImage gigaPixel taskState date cloudPath{key} downloads{totalCount edges{node{state name size mtime link}}}`

// TestProject: project(id) gets the full id; it is null, with no error, when
// unknown or another's. Dates are RFC 3339; what this server does not have is null.
func TestProject(t *testing.T) {
	f := open(t)
	pid := f.newProject(t, "Nordwand ⛰ \"1\"")
	r := f.ok(t, `{project(id:"`+pid+`"){`+everything+`}}`)
	date := r.text(t, "data.project.date")
	if at, err := time.Parse("2006-01-02T15:04:05Z", date); err != nil || time.Since(at) > time.Hour || time.Since(at) < -time.Hour {
		t.Errorf("the date is %s", date)
	}
	want := `{"cloudPath":null,"date":"` + date + `","downloads":null,"gigaPixel":0,"id":"` + pid + `","importedState":null,"isImported":false,` +
		`"name":"Nordwand ⛰ \"1\"","numImage":0,"projectType":"free","taskState":null}`
	if got := r.json(t, "data.project"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	// numImage is all but the removed ones, gigaPixel of the Ready ones.
	var ids []string
	for i := range 4 {
		id, _ := f.newImage(t, pid, fmt.Sprintf("%d.jpg", i), sha1Of([]byte{byte(i)}))
		ids = append(ids, id)
	}
	f.judge(t, ids[0])
	f.judge(t, ids[1])
	f.judge(t, ids[2], broker.Reasonf(broker.ReasonCorrupt, "no"))
	if _, err := f.images.Remove(t.Context(), f.by, pid, ids[3]); err != nil {
		t.Fatal(err)
	}
	if got := f.ok(t, `{project(id:"`+pid+`"){numImage gigaPixel}}`).json(t, "data.project"); got != `{"gigaPixel":0.024,"numImage":3}` {
		t.Errorf("it counts %s", got)
	}

	_, _, other := f.newOwner(t, "bob@example.com", "", broker.NewKey{})
	if r := f.ask(t, other, `{project(id:"`+pid+`"){id}}`); r.body != `{"data":{"project":null}}`+"\n" {
		t.Errorf("another's: %s", r.body)
	}
	for _, id := range []string{broker.NewID(time.Now()), "x", "", pid[:10], strings.ToLower(pid), pid + "0"} {
		if r := f.ok(t, `{project(id:"`+id+`"){id}}`); r.body != `{"data":{"project":null}}`+"\n" {
			t.Errorf("%q: %s", id, r.body)
		}
	}
	_, upload := f.newKey(t, f.owner, broker.NewKey{Scopes: []broker.Scope{broker.ScopeUpload}})
	for _, id := range []string{pid, "x"} {
		if r := f.ask(t, upload, `{project(id:"`+id+`"){id}}`); r.code() != broker.CodeNotAllowed {
			t.Errorf("a key that may not read: %s", r.body)
		}
	}
	// removeProject answers the project; then it is gone.
	if r := f.ok(t, `mutation{removeProject(id:"`+pid+`"){id name numImage}}`); r.json(t, "data.removeProject") != `{"id":"`+pid+`","name":"Nordwand ⛰ \"1\"","numImage":3}` {
		t.Errorf("removed: %s", r.body)
	}
	if r := f.ok(t, `{project(id:"`+pid+`"){id} search{projectID(id:"`+pid+`"){id}} my{allProjects{totalCount}}}`); r.json(t, "data") != `{"my":{"allProjects":{"totalCount":0}},"project":null,"search":{"projectID":[]}}` {
		t.Errorf("after it was removed: %s", r.body)
	}
	f.refused(t, broker.CodeNotFound, `mutation{removeProject(id:"`+broker.NewID(time.Now())+`"){id}}`)
}

// TestCreateProject: imported:true or a modelType is refused; the rest is taken.
func TestCreateProject(t *testing.T) {
	f := open(t)
	for _, args := range []string{`name:"a"`, `name:"a",type:pro,imported:false,visibility:unlisted`, `name:"a",type:null,imported:null,modelType:null,visibility:null`} {
		r := f.ok(t, `mutation{createProject(`+args+`){id name projectType isImported}}`)
		if !broker.IsID(r.text(t, "data.createProject.id")) || r.text(t, "data.createProject.projectType") != "free" {
			t.Errorf("%s: %s", args, r.body)
		}
	}
	f.refused(t, broker.CodeNotSupported, `mutation{createProject(name:"a",imported:true){id}}`)
	f.refused(t, broker.CodeNotSupported, `mutation{createProject(name:"a",modelType:CAD){id}}`)
	f.refused(t, broker.CodeInvalidName, `mutation{createProject(name:""){id}}`)
	if n := f.ok(t, `{my{allProjects{totalCount}}}`).json(t, "data.my.allProjects.totalCount"); n != "3" {
		t.Errorf("there are %s projects", n)
	}
}

// TestSearch: project arguments of side commands may be a prefix of the id in
// search.projectID, in either case; "" or null lists the newest.
func TestSearch(t *testing.T) {
	f := open(t)
	var pids []string
	for i := range 12 {
		pids = append(pids, f.newProject(t, fmt.Sprint("P", i)))
	}
	f.newOwner(t, "bob@example.com", "", broker.NewKey{})
	find := func(args string) string {
		list, _ := f.ok(t, `{search{projectID`+args+`{id}}}`).at(t, "data.search.projectID").([]any)
		var names []string
		for _, p := range list {
			for i, pid := range pids {
				if p.(map[string]any)["id"] == pid {
					names = append(names, fmt.Sprint(i))
				}
			}
		}
		return strings.Join(names, " ")
	}
	for args, want := range map[string]string{
		"":                                    "11 10 9 8 7 6 5 4 3 2",
		`(id:"")`:                             "11 10 9 8 7 6 5 4 3 2",
		`(id:null,limit:null,myProject:null)`: "11 10 9 8 7 6 5 4 3 2",
		`(id:"",limit:12,myProject:true)`:     "11 10 9 8 7 6 5 4 3 2 1 0",
		`(limit:100000,myProject:false)`:      "11 10 9 8 7 6 5 4 3 2 1 0",
		`(limit:1)`:                           "11",
		`(limit:0)`:                           "",
		`(id:"` + pids[3] + `",limit:1,myProject:true)`: "3",
		`(id:"` + strings.ToLower(pids[3]) + `")`:       "3",
		`(id:" ` + pids[3] + ` ")`:                      "3",
		`(id:"` + pids[3][:25] + `")`:                   "3",
		`(id:"` + pids[3][:2] + `",limit:100)`:          "11 10 9 8 7 6 5 4 3 2 1 0",
		`(id:"ZZZ")`:                                    "",
		`(id:"no id at all")`:                           "",
	} {
		if got := find(args); got != want {
			t.Errorf("%s finds %q, want %q", args, got, want)
		}
	}
	f.refused(t, broker.CodeInvalid, `{search{projectID(limit:-1){id}}}`)
	r := f.ok(t, `{search{projectID(id:"`+pids[0][:20]+`"){`+everything+`}}}`)
	if len(r.at(t, "data.search.projectID").([]any)) == 0 {
		t.Errorf("with all fields: %s", r.body)
	}
}

// TestMy: of the caller; email and username are never empty, the rest is null.
func TestMy(t *testing.T) {
	f := open(t)
	_, _, nameless := f.newOwner(t, "bob.b@example.com", "", broker.NewKey{})
	const query = `{my{self{email name username country balance freeGPQuota membershipState membership{state visibility coupon{value}} modelUsage developer{status} stats{star project}}}}`
	const rest = `"balance":null,"country":null,"developer":null,"email":%q,"freeGPQuota":null,"membership":null,"membershipState":null,"modelUsage":null,"name":%s,"stats":null,"username":%q`
	for token, want := range map[string]string{
		f.secret: fmt.Sprintf(rest, "ada@example.com", `"Ada"`, "Ada"),
		nameless: fmt.Sprintf(rest, "bob.b@example.com", `null`, "bob.b"),
	} {
		if got := f.ask(t, token, query).json(t, "data.my.self"); got != "{"+want+"}" {
			t.Errorf("%s\nwant {%s}", got, want)
		}
	}
	joined := f.ok(t, `{my{self{joined}}}`).text(t, "data.my.self.joined")
	if _, err := time.Parse("2006-01-02T15:04:05Z", joined); err != nil {
		t.Errorf("joined is %s", joined)
	}
}

// page asks for a connection and writes its entries, page info and total on a line.
func (f *fixture) page(t *testing.T, query, at string, number map[string]string) string {
	t.Helper()
	r := f.ok(t, query)
	edges, _ := r.at(t, at+".edges").([]any)
	var names []string
	for _, e := range edges {
		names = append(names, number[e.(map[string]any)["node"].(map[string]any)["id"].(string)])
	}
	cursor := func(name string) string {
		if c, ok := r.at(t, at+".pageInfo."+name).(string); ok {
			return number[c]
		}
		return "-"
	}
	return fmt.Sprintf("%s [%s..%s] prev %v next %v of %v", strings.Join(names, " "), cursor("startCursor"), cursor("endCursor"),
		r.at(t, at+".pageInfo.hasPreviousPage"), r.at(t, at+".pageInfo.hasNextPage"), r.at(t, at+".totalCount"))
}

const connection = `{totalCount pageInfo{hasPreviousPage hasNextPage startCursor endCursor} edges{node{id}}}`

// TestConnections: Relay's connections with stable cursors. Empty strings for
// before, after and search mean absent.
func TestConnections(t *testing.T) {
	f := open(t)
	pid := f.newProject(t, "North face")
	ids, number := []string{}, map[string]string{}
	for i := range 5 {
		id, _ := f.newImage(t, pid, fmt.Sprintf("%d.jpg", i), sha1Of([]byte{byte(i)}))
		ids, number[id] = append(ids, id), fmt.Sprint(i)
	}
	f.judge(t, ids[1])
	f.judge(t, ids[3])
	images := func(args string) string {
		return f.page(t, `{project(id:"`+pid+`"){allImages`+args+connection+`}}`, "data.project.allImages", number)
	}
	all := "0 1 2 3 4 [0..4] prev false next false of 5"
	for args, want := range map[string]string{
		``: all,
		`(first:null,last:null,before:null,after:null,filter:null)`: all,
		`(first:1000,before:"",after:"",filter:All)`:                all,
		`(last:5)`:                                         all,
		`(first:2)`:                                        "0 1 [0..1] prev false next true of 5",
		`(first:2,after:"` + ids[1] + `")`:                 "2 3 [2..3] prev true next true of 5",
		`(first:2,after:"` + ids[2] + `")`:                 "3 4 [3..4] prev true next false of 5",
		`(first:2,after:"` + ids[4] + `")`:                 " [-..-] prev true next false of 5",
		`(last:2)`:                                         "3 4 [3..4] prev true next false of 5",
		`(last:2,before:"` + ids[3] + `")`:                 "1 2 [1..2] prev true next true of 5",
		`(last:2,before:"` + ids[2] + `")`:                 "0 1 [0..1] prev false next true of 5",
		`(after:"` + ids[0] + `",before:"` + ids[3] + `")`: "1 2 [1..2] prev true next true of 5",
		`(first:0)`:                                        " [-..-] prev false next true of 5",
		`(last:0)`:                                         " [-..-] prev true next false of 5",
		`(filter:Ready)`:                                   "1 3 [1..3] prev false next false of 2",
		`(filter:Ready,first:1)`:                           "1 [1..1] prev false next true of 2",
		`(filter:Pending,last:1)`:                          "4 [4..4] prev true next false of 3",
		`(filter:Uploading)`:                               " [-..-] prev false next false of 0",
	} {
		if got := images(args); got != want {
			t.Errorf("allImages%s: %s, want %s", args, got, want)
		}
	}
	// A cursor stays good when its image goes.
	if _, err := f.images.Remove(t.Context(), f.by, pid, ids[1]); err != nil {
		t.Fatal(err)
	}
	if got, want := images(`(first:2,after:"`+ids[1]+`")`), "2 3 [2..3] prev true next true of 4"; got != want {
		t.Errorf("after the cursor's image went: %s, want %s", got, want)
	}
	if got := f.ok(t, `{project(id:"`+pid+`"){allImages{totalCount}}}`).json(t, "data.project.allImages"); got != `{"totalCount":4}` {
		t.Errorf("the total alone is %s", got)
	}
	for args, code := range map[string]broker.Code{
		`(first:-1)`: broker.CodeInvalid, `(last:-1)`: broker.CodeInvalid, `(first:1,last:1)`: broker.CodeInvalid,
		`(first:1001)`: broker.CodeTooLarge, `(last:1001)`: broker.CodeTooLarge, `(after:"x")`: broker.CodeInvalid, `(before:"x")`: broker.CodeInvalid,
	} {
		f.refused(t, code, `{project(id:"`+pid+`"){allImages`+args+`{edges{node{id}}}}}`)
		f.refused(t, code, `{my{allProjects`+args+`{edges{node{id}}}}}`)
	}
}

// TestAllProjects: newest first; search finds a part of a name or the beginning
// of an id.
func TestAllProjects(t *testing.T) {
	f := open(t)
	ids, number := []string{}, map[string]string{}
	for i, name := range []string{"North face", "South face", "Quarry 2026"} {
		id := f.newProject(t, name)
		ids, number[id] = append(ids, id), fmt.Sprint(i)
	}
	for args, want := range map[string]string{
		``:                                       "2 1 0 [2..0] prev false next false of 3",
		`(first:2,search:"",before:"",after:"")`: "2 1 [2..1] prev false next true of 3",
		`(first:2,after:"` + ids[1] + `")`:       "0 [0..0] prev true next false of 3",
		`(last:1)`:                               "0 [0..0] prev true next false of 3",
		`(last:1,before:"` + ids[0] + `")`:       "1 [1..1] prev true next true of 3",
		`(search:"FACE")`:                        "1 0 [1..0] prev false next false of 2",
		`(search:"face",first:1)`:                "1 [1..1] prev false next true of 2",
		`(search:"%")`:                           " [-..-] prev false next false of 0",
		`(search:"` + strings.ToLower(ids[0]) + `")`: "0 [0..0] prev false next false of 1",
	} {
		if got := f.page(t, `{my{allProjects`+args+connection+`}}`, "data.my.allProjects", number); got != want {
			t.Errorf("allProjects%s: %s, want %s", args, got, want)
		}
	}
	// A key that is tied to a project knows of no other.
	_, tied := f.newKey(t, f.owner, broker.NewKey{ProjectID: ids[1]})
	if r := f.ask(t, tied, `{my{allProjects{totalCount edges{node{name}}}} project(id:"`+ids[0]+`"){id} search{projectID{name}}}`); r.json(t, "data") !=
		`{"my":{"allProjects":{"edges":[{"node":{"name":"South face"}}],"totalCount":1}},"project":null,"search":{"projectID":[{"name":"South face"}]}}` {
		t.Errorf("a tied key sees %s", r.body)
	}
}

// countingStore counts how often the numbers of projects are asked for.
type countingStore struct {
	mu sync.Mutex
	broker.ProjectStore
	asked [][]string
}

func (s *countingStore) StatsOf(ctx context.Context, ids []string) (map[string]broker.Stats, error) {
	s.mu.Lock() // fields are resolved at once
	s.asked = append(s.asked, ids)
	s.mu.Unlock()
	return s.ProjectStore.StatsOf(ctx, ids)
}

// TestCountsOfAPage: the numbers of all projects of a page are one query, and none
// when no number is asked for.
func TestCountsOfAPage(t *testing.T) {
	counting := &countingStore{}
	f := open(t, func(s setup) {
		counting.ProjectStore = s.face.Projects.Store
		s.face.Projects = &broker.Projects{Store: counting, Now: s.face.Projects.Now}
	})
	for i := range 7 {
		f.newImage(t, f.newProject(t, fmt.Sprint("P", i)), "a.jpg", sha1Of([]byte("a")))
	}
	for query, want := range map[string]int{
		`{my{allProjects{edges{node{id name}}}}}`:                                         0,
		`{my{allProjects{edges{node{numImage gigaPixel allImages{totalCount}}}}}}`:        1,
		`{search{projectID{numImage gigaPixel}}}`:                                         1,
		`{search{projectID(limit:2){id allImages(first:1){edges{node{state}}}}}}`:         0,
		`{a:search{projectID(limit:2){numImage}} b:search{projectID(limit:2){numImage}}}`: 2,
	} {
		counting.asked = nil
		f.ok(t, query)
		if len(counting.asked) != want {
			t.Errorf("%s asks %d times: %v", query, len(counting.asked), counting.asked)
		}
	}
	r := f.ok(t, `{my{allProjects{edges{node{numImage}}}}}`)
	if strings.Count(r.body, `"numImage":1`) != 7 {
		t.Errorf("it counts %s", r.body)
	}
}
