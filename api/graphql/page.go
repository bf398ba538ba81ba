package graphql

import (
	"embed"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

//go:embed page
var page embed.FS

// pagePolicy lets nothing in but this program's own files.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// mountPage serves what the page is made of.
func mountPage(e *echo.Echo) {
	for _, file := range []string{"page.css", "page.js", "words.js", "docs.js", "icon.svg"} {
		e.GET(path+"/"+file, func(c echo.Context) error { return serveFile(c, "page/"+file) })
	}
}

// servePage shows the page on which people try queries.
// Its files are named relative to an address without a slash at its end.
func servePage(c echo.Context) error {
	if strings.HasSuffix(c.Request().URL.Path, "/") {
		return c.Redirect(http.StatusMovedPermanently, ".."+path)
	}
	return serveFile(c, "page/index.html")
}

func serveFile(c echo.Context, file string) error {
	h := c.Response().Header()
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "public, max-age=300")
	http.ServeFileFS(c.Response(), c.Request(), page, file)
	return nil
}
