// Package api is the HTTP server: who calls, from where, how errors are told,
// and where the faces (package rest and its siblings) and the local bucket are
// mounted. It holds no rule of its own.
//
// It needs no permission but to listen; it logs each request without its query,
// since the query of a presigned URL is a right to write.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/uploadbroker/uploadbroker/broker"
)

// Options are what the server is made of.
type Options struct {
	Keys           *broker.Keys
	Log            *slog.Logger
	PublicURL      string         // without a slash at its end; "": the request tells
	TrustedProxies []netip.Prefix // only from these are X-Forwarded-* believed
	CORSOrigins    []string       // "*": any; empty: none
	LocalBucket    http.Handler   // nil: there is none
	LocalPath      string         // where LocalBucket is mounted, such as /local-bucket/
	Ready          func(context.Context) error
	Metrics        http.Handler // nil: none
}

// isLocal reports whether a request is for the local bucket.
func (o Options) isLocal(r *http.Request) bool {
	return o.LocalBucket != nil && strings.HasPrefix(r.URL.Path, o.LocalPath)
}

// New makes the server with everything that all faces share.
func New(o Options) *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.Logger.SetOutput(discard{})
	e.HTTPErrorHandler = func(err error, c echo.Context) { renderError(o.Log, err, c) }

	e.Pre(requestID)
	e.Use(accessLog(o.Log), middleware.RecoverWithConfig(middleware.RecoverConfig{
		DisableStackAll: true, // of the goroutine that panicked; LogErrorFunc gets it
		LogErrorFunc: func(c echo.Context, err error, stack []byte) error {
			return errors.Join(err, errors.New(string(stack)))
		},
	}))

	// A preflight has no route of its own, so CORS and the caller's identity are
	// for all of Echo. The local bucket knows its own callers, errors and CORS; what
	// the page asks is for no other site.
	if len(o.CORSOrigins) > 0 {
		e.Use(middleware.CORSWithConfig(middleware.CORSConfig{
			Skipper:      func(c echo.Context) bool { return o.isLocal(c.Request()) || IsPage(c.Request().Context()) },
			AllowOrigins: o.CORSOrigins,
			AllowMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete},
			AllowHeaders: []string{
				"Authorization", "Content-Type", "Range", "If-Range", "If-None-Match", "key", "altitoken",
				// What upload widgets of web pages add by themselves, and a file's name.
				"Accept", "Cache-Control", "X-Requested-With", "Content-Disposition",
			},
			ExposeHeaders: []string{"Location", "Retry-After", echo.HeaderXRequestID, "Content-Length", "Content-Range", "ETag", "Accept-Ranges", "Content-Disposition"},
			MaxAge:        600,
		}))
	}
	e.Use(identify(o))

	e.GET("/healthz", func(c echo.Context) error { return c.String(http.StatusOK, "ok\n") })
	e.GET("/readyz", func(c echo.Context) error {
		ctx, cancel := context.WithTimeout(c.Request().Context(), 3*time.Second)
		defer cancel()
		if err := o.Ready(ctx); err != nil {
			return err
		}
		return c.String(http.StatusOK, "ready\n")
	})
	if o.Metrics != nil {
		e.GET("/metrics", echo.WrapHandler(o.Metrics))
	}
	if o.LocalBucket != nil {
		e.Any(o.LocalPath+"*", echo.WrapHandler(o.LocalBucket))
	}
	return e
}

// identify finds the caller, his address, and the address by which he reached us.
// A bad key is told when a right is needed, so that public pages work with one.
func identify(o Options) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			if o.isLocal(r) {
				return next(c)
			}
			who := visit{base: baseURL(r, o)}
			who.client, who.own = clientAddr(r, o.TrustedProxies)
			if secret, ok := shownKey(r); ok && !IsPage(r.Context()) {
				who.caller, who.err = o.Keys.Authenticate(r.Context(), secret)
			}
			c.SetRequest(r.WithContext(context.WithValue(r.Context(), visitKey{}, who)))
			return next(c)
		}
	}
}

// shownKey returns the key that a request carries. GraphQL's clients send it in a
// header of their own; their header key names the app and is no secret.
func shownKey(r *http.Request) (string, bool) {
	if secret, ok := bearer(r); ok {
		return secret, true
	}
	if r.URL.Path != "/graphql" && r.URL.Path != "/graphql/" {
		return "", false
	}
	secret := strings.TrimSpace(r.Header.Get("altitoken"))
	return secret, secret != ""
}

func bearer(r *http.Request) (string, bool) {
	scheme, secret, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimSpace(secret), true
}

// renderError writes any error that reached Echo as a problem document.
func renderError(log *slog.Logger, err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	p := NewProblem(err)
	LogProblem(c.Request().Context(), log, p)
	p.SetRetryAfter(c.Response().Header())
	if p.Status == http.StatusUnauthorized {
		c.Response().Header().Set("WWW-Authenticate", `Bearer realm="uploadbroker"`)
	}
	c.Response().Header().Set(echo.HeaderContentType, p.ContentType(""))
	c.Response().WriteHeader(p.Status)
	if err := c.Echo().JSONSerializer.Serialize(c, p, ""); err != nil {
		log.Debug("could not write an error", "err", err)
	}
}

// LogProblem logs the cause of a problem that is ours. What is not supported is
// the caller's choice, though its status is a server's.
func LogProblem(ctx context.Context, log *slog.Logger, p *Problem) {
	if p.Status < 500 || p.Code == broker.CodeNotSupported || p.cause == nil || errors.Is(p.cause, context.Canceled) {
		return
	}
	log.ErrorContext(ctx, "request failed", "request_id", RequestID(ctx), "code", p.Code, "err", p.cause)
}

// Server makes the HTTP server around an Echo of New. Bodies may take as long as
// they need, for the local bucket takes photos over slow lines; a body of JSON is
// bounded by its face.
func Server(e *echo.Echo, o Options) *http.Server {
	return &http.Server{
		Handler:           headAsGet(e, o),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
}

// headAsGet answers HEAD wherever GET is answered (RFC 9110, section 9.3.2);
// net/http leaves the body out. Echo routes by the request it was given, so this
// stands before it.
func headAsGet(next http.Handler, o Options) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead && !o.isLocal(r) {
			r = r.WithContext(context.WithValue(r.Context(), headKey{}, true)) // a copy
			r.Method = http.MethodGet
		}
		next.ServeHTTP(w, r)
	})
}

// requestID gives every request an id, which its answer and the log carry. A
// caller's own is taken over when it is short and plain.
func requestID(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		id := c.Request().Header.Get(echo.HeaderXRequestID)
		if len(id) > 64 || id == "" || strings.ContainsFunc(id, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
		}) {
			id = broker.NewID(time.Now())
		}
		c.Response().Header().Set(echo.HeaderXRequestID, id)
		c.SetRequest(c.Request().WithContext(context.WithValue(c.Request().Context(), requestIDKey{}, id)))
		return next(c)
	}
}

// accessLog writes one line a request, at debug level. Neither query nor headers
// are in it.
func accessLog(log *slog.Logger) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if !log.Enabled(c.Request().Context(), slog.LevelDebug) {
				return next(c)
			}
			began := time.Now()
			err := next(c)
			if err != nil {
				c.Error(err)
			}
			log.Debug("request", "request_id", RequestID(c.Request().Context()), "method", c.Request().Method,
				"route", c.Path(), "status", c.Response().Status, "took", time.Since(began))
			return nil
		}
	}
}

// trusted reports whether a proxy's word about its client is believed.
func trusted(addr netip.Addr, proxies []netip.Prefix) bool {
	return slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// discard is a writer for Echo's own logger; ours is slog.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
