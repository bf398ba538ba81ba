package graphql

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/labstack/echo/v4"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/api/graphql/schema"
	"github.com/uploadbroker/uploadbroker/broker"
)

// Options are what the face needs.
type Options struct {
	Projects *broker.Projects
	Images   *broker.Images
	Tasks    *broker.Tasks
	Keys     *broker.Keys
	Log      *slog.Logger
	Version  string // of the program
	// NetworkTest tries whether a URL that the caller names answers at the
	// caller's own address. nil: the test is refused.
	NetworkTest func(ctx context.Context, url string, own netip.Addr) error
	Now         func() time.Time
}

// path is where the face is mounted.
const path = "/graphql"

// Bounds of what callers may make the server do, beside the limits of a request.
const (
	tokenEvery, tokenBurst = 12 * time.Second, 5 // getUserToken: 5 a minute from an address
	testEvery, testBurst   = time.Second, 1      // networkTest: one a second from an address
	testsAtOnce            = 8
	testTime               = 15 * time.Second
	linksAtOnce            = 32 // each may ask a bucket
)

// Face is GraphQL, mounted.
type Face struct {
	Options
	executor atomic.Pointer[executor.Executor]
	tokens   *api.Throttle
	tests    *api.Throttle
	testing  chan struct{}
	linking  chan struct{}
}

// Mount adds the routes to a server that api.New made.
func Mount(e *echo.Echo, o Options) *Face {
	f := &Face{
		Options: o,
		tokens:  api.NewThrottle(tokenEvery, tokenBurst, o.Now),
		tests:   api.NewThrottle(testEvery, testBurst, o.Now),
		testing: make(chan struct{}, testsAtOnce),
		linking: make(chan struct{}, linksAtOnce),
	}
	f.Reload()
	for _, p := range []string{path, path + "/"} { // some clients are told the address with a slash
		e.POST(p, f.post)
		e.GET(p, f.get)
		e.Match([]string{http.MethodPut, http.MethodPatch, http.MethodDelete}, p, f.otherMethod)
	}
	mountPage(e)
	return f
}

// Reload gives the bucket enums the members that Options.Images.Places has now.
// Requests that run keep the schema that they began with.
func (f *Face) Reload() {
	s, bad := schema.Load(f.Images.Places.Buckets())
	for _, symbol := range bad {
		f.Log.Error("a bucket is left out of GraphQL: its symbol can't be a member of an enum", "symbol", symbol)
	}
	exec := executor.New(schema.NewExecutableSchema(schema.Config{Schema: s, Resolvers: resolvers{f}}))
	exec.SetErrorPresenter(f.present)
	exec.SetRecoverFunc(recovered)
	exec.SetParserTokenLimit(maxTokens)
	f.executor.Store(exec)
}

// resolvers leads gqlgen to the resolvers of each type.
type resolvers struct{ *Face }

var _ schema.ResolverRoot = resolvers{}

func (r resolvers) Query() schema.QueryResolver               { return query(r) }
func (r resolvers) Mutation() schema.MutationResolver         { return mutation(r) }
func (r resolvers) Support() schema.SupportResolver           { return support(r) }
func (r resolvers) Search() schema.SearchResolver             { return search(r) }
func (r resolvers) My() schema.MyResolver                     { return my(r) }
func (r resolvers) Bank() schema.BankResolver                 { return bank{} }
func (r resolvers) Project() schema.ProjectResolver           { return project(r) }
func (r resolvers) ProjectImage() schema.ProjectImageResolver { return projectImage(r) }
func (r resolvers) ProjectImagesConnection() schema.ProjectImagesConnectionResolver {
	return imagesConnection{}
}

// visitor returns who calls, and nobody when the key that was shown is not good:
// what is public answers all the same. An error is one of ours.
func visitor(ctx context.Context) (broker.Caller, error) {
	by, err := api.Caller(ctx)
	if broker.CodeOf(err) == broker.CodeUnauthenticated {
		return broker.Caller{}, nil
	}
	return by, err
}

// member returns who calls, and refuses nobody.
func member(ctx context.Context) (broker.Caller, error) {
	by, err := api.Caller(ctx)
	if err == nil && !by.Known() {
		err = broker.Errorf(broker.CodeUnauthenticated, "nobody is logged in; send a key in the header altitoken, or as Authorization: Bearer KEY")
	}
	return by, err
}
