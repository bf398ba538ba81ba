package graphql

import (
	"strconv"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"

	"github.com/uploadbroker/uploadbroker/broker"
)

// Limits of one request. They are far above what clients and tools send: the
// introspection of graphql-js is 15 deep with 260 fields, a script that uploads
// 100 images in one request has 1,100.
const (
	maxTokens = 20_000
	maxDepth  = 20    // fields within fields; introspection is the only deep thing here
	maxFields = 1_500 // with fragments put in where they are spread
	maxPairs  = 5_000 // of fields with one name at one place: 100 of one name
	maxCost   = 100_000
)

// What some fields cost beside their place in the answer, which costs 1.
const (
	linkCost     = 20  // url: the bucket is asked
	testCost     = 500 // networkTest: another machine is asked
	mutationCost = 400 // each is a transaction, one after the other
)

// maxPage is the most that a list holds, and what it holds when no size is given.
const maxPage = 1000

// checkSize refuses a document that is too large to be worth validating: the
// validation compares fields with each other, so its time is not bounded by the
// size of the text. What can't be parsed is left for the executor to tell.
func checkSize(query string) error {
	doc, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: query}, maxTokens)
	if err != nil || doc == nil {
		return nil
	}
	m := measure{doc: doc, known: map[string]extent{}, within: map[string]bool{}}
	var written extent
	for _, f := range doc.Fragments {
		written.fields += countWritten(f.SelectionSet)
	}
	for _, op := range doc.Operations {
		written.fields += countWritten(op.SelectionSet)
		size := m.of(op.SelectionSet)
		switch {
		case size.depth > maxDepth:
			return broker.Errorf(broker.CodeTooLarge, "the fields are nested %d deep; %d are the most", size.depth, maxDepth)
		case size.fields > maxFields:
			return tooManyFields()
		}
	}
	if written.fields > maxFields {
		return tooManyFields()
	}
	for _, op := range doc.Operations {
		if !m.circular && m.pairs([]ast.SelectionSet{op.SelectionSet}) > maxPairs {
			return broker.Errorf(broker.CodeTooLarge, "the same field is asked for too often at one place; ask once, or give each an alias")
		}
	}
	return nil
}

func tooManyFields() error {
	return broker.Errorf(broker.CodeTooLarge, "the request asks for more than %d fields; send several requests", maxFields)
}

// extent is how many fields a selection has, and how deep they go.
type extent struct{ fields, depth int }

// measure finds extents with fragments put in where they are spread. Each
// fragment is measured once, so that fragments which double each other cost
// nothing to find.
type measure struct {
	doc      *ast.QueryDocument
	known    map[string]extent
	within   map[string]bool // fragments that are being measured
	circular bool            // a fragment spreads itself: the validation tells it
}

func (m *measure) of(set ast.SelectionSet) extent {
	var sum extent
	for _, selection := range set {
		var e extent
		switch s := selection.(type) {
		case *ast.Field:
			e = m.of(s.SelectionSet)
			e.fields++
			e.depth++
		case *ast.InlineFragment:
			e = m.of(s.SelectionSet)
			e.depth++
		case *ast.FragmentSpread:
			e = m.fragment(s.Name)
		}
		sum.fields = min(sum.fields+e.fields, maxFields+1)
		sum.depth = max(sum.depth, e.depth)
	}
	return sum
}

// fragment measures a fragment.
func (m *measure) fragment(name string) extent {
	if m.within[name] {
		m.circular = true
		return extent{}
	}
	e, ok := m.known[name]
	if ok {
		return e
	}
	m.within[name] = true
	if f := m.doc.Fragments.ForName(name); f != nil {
		e = m.of(f.SelectionSet)
	}
	m.within[name] = false
	m.known[name] = e
	return e
}

// pairs counts the fields that stand at one place of the answer under one name:
// the validation compares each with each, and what is below them too.
func (m *measure) pairs(sets []ast.SelectionSet) int {
	below := map[string][]ast.SelectionSet{}
	for _, set := range sets {
		m.collect(set, below)
	}
	sum := 0
	for _, same := range below {
		sum += len(same) * (len(same) - 1) / 2
		sum += m.pairs(same)
	}
	return sum
}

// collect adds the fields of a selection, fragments put in, to those of their name.
func (m *measure) collect(set ast.SelectionSet, below map[string][]ast.SelectionSet) {
	for _, selection := range set {
		switch s := selection.(type) {
		case *ast.Field:
			below[s.Alias] = append(below[s.Alias], s.SelectionSet)
		case *ast.InlineFragment:
			m.collect(s.SelectionSet, below)
		case *ast.FragmentSpread:
			if f := m.doc.Fragments.ForName(s.Name); f != nil {
				m.collect(f.SelectionSet, below)
			}
		}
	}
}

// countWritten counts selections as they are written.
func countWritten(set ast.SelectionSet) int {
	n := len(set)
	for _, selection := range set {
		switch s := selection.(type) {
		case *ast.Field:
			n += countWritten(s.SelectionSet)
		case *ast.InlineFragment:
			n += countWritten(s.SelectionSet)
		}
	}
	return n
}

// checkCost refuses an operation whose answer would be too large, or too much
// work. Lists count with the size that was asked for, introspection with that of
// this schema.
func checkCost(op *graphql.OperationContext) error {
	if cost := costOf(op.Operation.SelectionSet, op.Variables, 1); cost > maxCost {
		return broker.Errorf(broker.CodeTooLarge,
			"the answer would be too large: up to %s values, %s are the most; ask for fewer entries with first or last, or for fewer fields",
			amount(cost), amount(maxCost))
	}
	return nil
}

// costOf bounds the work for a selection, within a connection of that many edges.
func costOf(set ast.SelectionSet, variables map[string]any, edges int) int {
	sum := 0
	for _, selection := range set {
		switch s := selection.(type) {
		case *ast.Field:
			sum += fieldCost(s, variables, edges)
		case *ast.InlineFragment:
			sum += costOf(s.SelectionSet, variables, edges)
		case *ast.FragmentSpread:
			sum += costOf(s.Definition.SelectionSet, variables, edges)
		}
		if sum > maxCost*maxPage { // enough is known, and an int ends somewhere
			return maxCost * maxPage
		}
	}
	return sum
}

func fieldCost(f *ast.Field, variables map[string]any, edges int) int {
	own, times, below := 1, 1, 1
	switch parent := f.ObjectDefinition.Name; parent + "." + f.Name {
	case "My.allProjects", "Project.allImages":
		args := f.ArgumentMap(variables)
		below = entries(args, maxPage, maxPage, "first", "last")
	case "ProjectsConnection.edges", "ProjectImagesConnection.edges":
		times = edges
	case "Search.projectID":
		times = entries(f.ArgumentMap(variables), defaultSearch, maxSearch, "limit")
	case "ProjectImage.url":
		own = linkCost
	case "Support.networkTest":
		own = testCost
	case "__Schema.types":
		times = 64
	case "__Type.fields", "__Type.enumValues":
		times = 4
	default:
		if parent == "Mutation" && f.Name != "__typename" {
			own = mutationCost
		}
	}
	return own + times*costOf(f.SelectionSet, variables, below)
}

// entries is the size that the arguments ask of a list. What can't be a size is
// refused when it is resolved.
func entries(args map[string]any, standard, most int, names ...string) int {
	n := standard
	for _, name := range names {
		switch v := args[name].(type) {
		case int64:
			n = int(min(max(v, 0), int64(most)))
		case interface{ Int64() (int64, error) }: // json.Number
			if i, err := v.Int64(); err == nil {
				n = int(min(max(i, 0), int64(most)))
			}
		}
	}
	return n
}

// amount writes a number for people: 1,234,567.
func amount(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
