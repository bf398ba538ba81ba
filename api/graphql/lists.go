package graphql

import (
	"context"
	"strings"
	"sync"

	"github.com/99designs/gqlgen/graphql"

	"github.com/uploadbroker/uploadbroker/api/graphql/schema"
	"github.com/uploadbroker/uploadbroker/broker"
)

// window reads the arguments of a connection. Cursors are the ids of nodes, so
// they stay good whatever comes and goes; an empty one means none.
func window(first, last *int, before, after *string) (broker.Window, error) {
	w := broker.Window{After: text(after), Before: text(before), Limit: maxPage}
	if first != nil && last != nil {
		return w, broker.Errorf(broker.CodeInvalid, "both first and last are given; give one of them")
	}
	for name, n := range map[string]*int{"first": first, "last": last} {
		switch {
		case n == nil:
		case *n < 0:
			return w, broker.Errorf(broker.CodeInvalid, "%s is %d; give a number from 0 to %d", name, *n, maxPage)
		case *n > maxPage:
			return w, broker.Errorf(broker.CodeTooLarge, "%s is %d; %d are the most, take several pages with after or before", name, *n, maxPage)
		default:
			w.Limit, w.FromEnd = *n, name == "last"
		}
	}
	return w, nil
}

// text reads a nullable string, where "" means the same as null.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return strings.TrimSpace(*s)
}

// pageInfo tells of a window's edges. more says whether there are more beyond
// the end that the window does not begin at; beyond the end that it begins at
// there is at least the cursor's own node.
func pageInfo(ids []string, w broker.Window, more bool) *schema.PageInfo {
	p := &schema.PageInfo{HasNextPage: more || w.Before != "", HasPreviousPage: w.After != ""}
	if w.FromEnd {
		p.HasNextPage, p.HasPreviousPage = w.Before != "", more || w.After != ""
	}
	if len(ids) > 0 {
		p.StartCursor, p.EndCursor = &ids[0], &ids[len(ids)-1]
	}
	return p
}

// asked reports which fields below the present one the client reads, by their
// names: fragments are put in, and @skip and @include are heeded.
func asked(ctx context.Context) map[string]bool {
	names := map[string]bool{}
	for _, field := range graphql.CollectFieldsCtx(ctx, nil) {
		names[field.Name] = true
	}
	return names
}

// shared asks for what is told of several projects at once, when that of the first
// of them is wanted. The zero value stands for those of which nothing is known.
type shared[T any] struct {
	once  sync.Once
	ids   []string
	load  func(context.Context, []string) (map[string]T, error)
	found map[string]T
	err   error
}

func (s *shared[T]) of(id string) func(context.Context) (T, error) {
	return func(ctx context.Context) (T, error) {
		s.once.Do(func() { s.found, s.err = s.load(ctx, s.ids) })
		return s.found[id], s.err
	}
}
