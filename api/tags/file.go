package tags

import (
	"io"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// file leads to a link that reads a file, or passes its bytes on where its bucket
// gives no links.
func (f *face) file(c echo.Context) error {
	ctx := c.Request().Context()
	tag, _, err := pathAfter(c.Request(), "/tags/")
	if err != nil {
		return err
	}
	by, err := f.reader(c)
	if err != nil {
		return err
	}
	img, link, err := f.Tags.File(ctx, by, tag, c.Param("id"))
	if err != nil {
		return err
	}
	c.Response().Header().Set("Cache-Control", "private, no-store")
	if link != "" {
		return c.Redirect(http.StatusFound, api.Absolute(ctx, link))
	}
	return f.stream(c, img)
}

// stream passes a file on. It can't act on the site that it comes from: it is saved,
// never sniffed, and sandboxed should a browser show it all the same.
func (f *face) stream(c echo.Context, img broker.Image) error {
	h := c.Response().Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.FormatInt(img.ProvenBytes, 10))
	h.Set("Content-Disposition", api.Attachment(lastSegment(img.Name)))
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	if api.IsHead(c.Request().Context()) {
		c.Response().WriteHeader(http.StatusOK)
		return nil
	}
	body, err := f.Tags.Open(c.Request().Context(), img)
	if err != nil {
		h.Del("Content-Length")
		h.Del("Content-Disposition")
		return err
	}
	defer body.Close()
	if _, err := io.Copy(c.Response(), body); err != nil {
		f.Log.Debug("a file was not read to its end", "image", img.ID, "err", err)
		panic(http.ErrAbortHandler) // a part of the bytes must not look like all of them
	}
	return nil
}
