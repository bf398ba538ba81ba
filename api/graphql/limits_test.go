package graphql

import (
	"fmt"
	"strings"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
)

// deep nests a field in itself.
func deep(n int, around, inner string) string {
	return strings.Repeat(around+"{", n) + inner + strings.Repeat("}", n)
}

// TestTooLarge: what is refused before anything is done. No type here is
// recursive: deep queries are introspection (ofType).
func TestTooLarge(t *testing.T) {
	f := open(t)
	pid := f.newProject(t, "North face")
	// Fragments that double each other: 2^30 fields in a kilobyte.
	bomb := `{__schema{types{...F0}}}`
	for i := range 30 {
		bomb += fmt.Sprintf(" fragment F%d on __Type{...F%d ...F%d}", i, i+1, i+1)
	}
	bomb += " fragment F30 on __Type{name}"
	var aliases, mutations strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&aliases, "a%d:__typename ", i)
	}
	for i := range 300 {
		fmt.Fprintf(&mutations, `m%d:createProject(name:"x"){id} `, i)
	}
	for name, query := range map[string]string{
		"200 deep":                   `{__type(name:"Query"){` + deep(200, "ofType", "name") + `}}`,
		"200 deep, unknown":          `{` + deep(200, "a", "b") + `}`,
		"200 inline fragments deep":  `{` + deep(200, "...", "__typename") + `}`,
		"deep through fragments":     `{__type(name:"Query"){...A}} fragment A on __Type{` + deep(12, "ofType", "...B") + `} fragment B on __Type{` + deep(12, "ofType", "name") + `}`,
		"2,000 aliases":              `{` + aliases.String() + `}`,
		"2,000 aliases in fragments": `{...A} fragment A on Query{` + aliases.String() + `}`,
		"a fragment bomb":            bomb,
		"one field 700 times":        `{` + strings.Repeat(`bank{coinsToMoney} `, 700) + `}`,
		"one name at three depths":   `{` + strings.Repeat(`__schema{`+strings.Repeat(`types{name}`, 20)+`}`, 20) + `}`,
		"one name in fragments":      `{` + strings.Repeat(`...A `, 120) + `} fragment A on Query{bank{coinsToMoney}}`,
		"unused fragments":           `{__typename} fragment A on Query{` + aliases.String() + `}`,
		"lists in lists":             `{my{allProjects(first:1000){edges{node{allImages(first:1000){edges{node{id}}}}}}}}`,
		"lists of the usual size":    `{my{allProjects{edges{node{allImages{edges{node{id}}}}}}}}`,
		"all links, many times":      `{project(id:"` + pid + `"){a:allImages{edges{node{url}}} b:allImages{edges{node{url}}} c:allImages{edges{node{url}}} d:allImages{edges{node{url}}} e:allImages{edges{node{url}}}}}`,
		"300 mutations":              `mutation{` + mutations.String() + `}`,
		"much introspection":         `{__schema{types{fields{type{fields{` + aliasesOf("name", 200) + `}}}}}}`,
		"networkTest, many times":    `{support{` + aliasesOf(`networkTest(url:"http://a")`, 250) + `}}`,
	} {
		r := f.ask(t, f.secret, query)
		if r.status != 200 || r.code() != broker.CodeTooLarge {
			t.Errorf("%s: %d %.300s", name, r.status, r.body)
		}
		if _, executed := r.find("data"); executed {
			t.Errorf("%s was executed", name)
		}
	}
	if n := f.ok(t, `{my{allProjects{totalCount}}}`).json(t, "data.my.allProjects.totalCount"); n != "1" {
		t.Errorf("refused requests made %s projects", n)
	}
	// The size of a list in a variable counts too.
	const images = `query($p:ID!,$n:Int){my{allProjects(first:100){edges{node{allImages(first:$n){edges{node{id}}}}}}} project(id:$p){id}}`
	if r := f.askWith(t, f.secret, images, map[string]any{"p": pid, "n": 1000}); r.code() != broker.CodeTooLarge {
		t.Errorf("by a variable: %s", r.body)
	}
	if r := f.askWith(t, f.secret, images, map[string]any{"p": pid, "n": 10}); r.code() != "" {
		t.Errorf("by a small variable: %s", r.body)
	}
	// Too many words, and fragments that go in circles, are told by the parser and
	// the validation.
	for _, query := range []string{
		`{__typename(` + strings.Repeat("a:1 ", 8000) + `)}`,
		`{...A} fragment A on Query{...B} fragment B on Query{...A}`,
		circles(25),
		`{project(id:` + strings.Repeat("[", 15000) + strings.Repeat("]", 15000) + `){id}}`,
	} {
		if r := f.ask(t, f.secret, query); r.code() != broker.CodeInvalid {
			t.Errorf("%.60s: %d %.300s", query, r.status, r.body)
		}
	}
}

// circles is fragments each of which spreads all.
func circles(n int) string {
	query := "{...F0}"
	for i := range n {
		query += fmt.Sprintf(" fragment F%d on Query{", i)
		for j := range n {
			query += fmt.Sprintf("...F%d ", j)
		}
		query += "}"
	}
	return query
}

func aliasesOf(field string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "x%d:%s ", i, field)
	}
	return b.String()
}

// TestLargeEnough: what clients send passes: a page of everything with its links,
// every project of a person, 100 aliased mutations in one request.
func TestLargeEnough(t *testing.T) {
	f := open(t)
	pid := f.newProject(t, "North face")
	for _, query := range []string{
		`{project(id:"` + pid + `"){allImages{totalCount pageInfo{hasNextPage endCursor} edges{node{id state name filename checksum error grounded url}}}}}`,
		`{project(id:"` + pid + `"){allImages(first:1000){edges{node{url}}}}}`,
		`{my{allProjects{totalCount pageInfo{hasNextPage hasPreviousPage startCursor endCursor} edges{node{` + everything + `}}}}}`,
		`{my{allProjects(first:50){edges{node{` + everything + ` allImages(first:50){totalCount edges{node{id state name}}}}}}}}`,
		`{search{projectID(limit:100){` + everything + ` allImages(first:10){edges{node{id}}}}}}`,
	} {
		f.ok(t, query)
	}
	var script strings.Builder
	for i := range 100 {
		fmt.Fprintf(&script, `i%d:uploadImageS3(pid:"%s",bucket:Local,filename:"DJI_%04d.JPG",type:JPEG,checksum:"%s"){url image{id state name filename checksum error grounded url}} `,
			i, pid, i, sha1Of([]byte{byte(i)}))
	}
	r := f.ok(t, `mutation{`+script.String()+`}`)
	if strings.Count(r.body, `"state":"Pending"`) != 100 || strings.Count(r.body, "X-Amz-Signature") != 100 {
		t.Errorf("100 mutations answer %.300s", r.body)
	}
}

// TestMutationsAreSerial: mutations run one after the other, in their order.
func TestMutationsAreSerial(t *testing.T) {
	f := open(t)
	pid := f.newProject(t, "North face")
	id, _ := f.newImage(t, pid, "a.jpg", sha1Of([]byte("a")))
	r := f.ok(t, `mutation{a:doneImageUpload(id:"`+id+`"){state} b:startImageUpload(id:"`+id+`"){state} c:doneImageUpload(id:"`+id+`"){state}
		d:createProject(name:"1"){id} e:createProject(name:"2"){id} f:createProject(name:"3"){id}}`)
	if got := r.body; !strings.HasPrefix(got, `{"data":{"a":{"state":"Pending"},"b":{"state":"Uploading"},"c":{"state":"Uploading"},"d":`) {
		t.Errorf("%s", got)
	}
	if d, e, g := r.text(t, "data.d.id"), r.text(t, "data.e.id"), r.text(t, "data.f.id"); d >= e || e >= g {
		t.Errorf("made in the order %s %s %s", d, e, g)
	}
}

// BenchmarkValidation takes the documents that are the slowest to validate within
// the limits: fields of one name are compared with each other, fragments too.
func BenchmarkValidation(b *testing.B) {
	for name, query := range map[string]string{
		"one name":      `{` + strings.Repeat(`bank{coinsToMoney} `, 70) + `}`,
		"other names":   `{` + aliasesOf(`bank{coinsToMoney}`, 740) + `}`,
		"fragments":     `{` + strings.Repeat(`...A `, 90) + `} fragment A on Query{__typename}`,
		"introspection": introspection,
	} {
		b.Run(name, func(b *testing.B) {
			exec := newFaceForBench()
			for b.Loop() {
				if err := checkSize(query); err != nil {
					b.Fatal(err)
				}
				if faults := faultsOf(exec, query); len(faults) > 0 {
					b.Fatal(faults)
				}
			}
		})
	}
}
