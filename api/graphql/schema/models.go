package schema

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"github.com/uploadbroker/uploadbroker/broker"
)

// Project is a project with what its counts are read from when a client asks
// for them.
type Project struct {
	ID            string
	Name          string
	IsImported    bool
	ImportedState *string
	ProjectType   ProjectType
	Date          time.Time

	// Stats counts its images. Projects of one list share a query.
	Stats func(context.Context) (broker.Stats, error)
	// Latest is its newest reconstruction, Done the newest that is Done; one without
	// an id is none.
	Latest, Done func(context.Context) (broker.Task, error)
}

// ProjectImage is an image with the record that its link is made from.
type ProjectImage struct {
	ID       string
	State    ImageState
	Name     string
	Filename string
	Checksum *string
	Error    []string
	Grounded *bool

	Record broker.Image
}

// ProjectImagesConnection is a page of a project's images.
type ProjectImagesConnection struct {
	PageInfo *PageInfo
	Edges    []*ProjectImageEdge

	// Total counts all images that the page is a part of.
	Total func(context.Context) (int, error)
}

// MarshalDateTime writes a date as RFC 3339 in UTC, in whole seconds: clients
// parse it by patterns that know no fraction. The zero time is null.
func MarshalDateTime(t time.Time) graphql.Marshaler {
	if t.IsZero() {
		return graphql.Null
	}
	return graphql.WriterFunc(func(w io.Writer) {
		_, _ = io.WriteString(w, strconv.Quote(t.UTC().Format(time.RFC3339)))
	})
}

// UnmarshalDateTime reads RFC 3339. No argument of the contract is a date.
func UnmarshalDateTime(v any) (time.Time, error) {
	s, ok := v.(string)
	if !ok {
		return time.Time{}, fmt.Errorf("a date is RFC 3339 text, not %T", v)
	}
	return time.Parse(time.RFC3339, s)
}
