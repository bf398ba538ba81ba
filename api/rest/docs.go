package rest

import (
	"embed"
	"net/http"

	"github.com/labstack/echo/v4"
	"github.com/swaggest/swgui"
	"github.com/swaggest/swgui/v5emb"
)

//go:embed docs
var docs embed.FS

// docsPolicy lets nothing in but this program's own files. Swagger UI sets styles
// as it goes and has its icons in its style sheet.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// mountDocs serves a page that renders the description, from this program alone.
// The frame of it is ours, Swagger UI's own has inline scripts and no thought of
// telephones.
func mountDocs(e *echo.Echo) {
	swagger := v5emb.NewHandlerWithConfig(swgui.Config{SwaggerJSON: "/openapi.json", BasePath: "/docs/"})
	serve := func(h http.Handler) echo.HandlerFunc {
		return func(c echo.Context) error {
			header := c.Response().Header()
			header.Set("Content-Security-Policy", docsPolicy)
			header.Set("X-Content-Type-Options", "nosniff")
			header.Set("Referrer-Policy", "no-referrer")
			header.Set("Cache-Control", "public, max-age=300")
			h.ServeHTTP(c.Response(), c.Request())
			return nil
		}
	}
	own := serve(http.FileServerFS(docs))
	e.GET("/docs", func(c echo.Context) error { return c.Redirect(http.StatusMovedPermanently, "/docs/") })
	e.GET("/docs/", own)
	e.GET("/docs/page.js", own)
	e.GET("/docs/page.css", own)
	for _, file := range []string{"swagger-ui.css", "swagger-ui-bundle.js"} {
		e.GET("/docs/"+file, serve(swagger))
	}
}
