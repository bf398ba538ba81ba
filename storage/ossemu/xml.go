package ossemu

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// longestDocument bounds what is read of a request's XML: ten thousand parts, or
// a thousand names of which each byte is escaped.
const longestDocument = 8 << 20

// readXML reads a request's document of any content type, as SDKs send it.
func (s *Server) readXML(c *call, into any) ([]byte, *fault) {
	body, err := io.ReadAll(io.LimitReader(source{c.r.Body}, longestDocument+1))
	if err != nil {
		return nil, s.bodyFault(err)
	}
	if len(body) > longestDocument {
		return nil, &fault{status: 400, code: "EntityTooLarge", message: "The document is too long."}
	}
	if f := checkMD5(c.r, body); f != nil {
		return nil, f
	}
	if err := xml.Unmarshal(body, into); err != nil && !(errors.Is(err, io.EOF) && len(bytes.TrimSpace(body)) == 0) {
		return nil, malformed(err.Error())
	}
	return body, nil
}

func malformed(why string) *fault {
	return &fault{status: 400, code: "MalformedXML", message: "The XML you provided was not well-formed or did not validate against our published schema.", more: [][2]string{{"ErrorDetail", why}}}
}

// sendXML sends a document.
func (c *call) sendXML(status int, body []byte) {
	h := c.w.Header()
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.begin(status)
	c.w.Write(body)
}

// answer sends what a struct says, with status 200.
func (c *call) answer(v any) *fault {
	body, err := xml.Marshal(v)
	if err != nil {
		return internal("The emulator can't write its answer: " + err.Error())
	}
	c.sendXML(http.StatusOK, append([]byte(xml.Header), body...))
	return nil
}

// empty answers without a body.
func (c *call) empty(status int) *fault {
	if status != http.StatusNoContent {
		c.w.Header().Set("Content-Length", "0")
	}
	c.begin(status)
	return nil
}

func errorDocument(f *fault, requestID, host string) []byte {
	var b bytes.Buffer
	element := func(name, text string) {
		b.WriteString("\n  <" + name + ">")
		xml.EscapeText(&b, []byte(text))
		b.WriteString("</" + name + ">")
	}
	b.WriteString(xml.Header + "<Error>")
	element("Code", f.code)
	element("Message", f.message)
	element("RequestId", requestID)
	element("HostId", host)
	for _, m := range f.more {
		element(m[0], m[1])
	}
	if f.ec != "" {
		element("EC", f.ec)
	}
	b.WriteString("\n</Error>\n")
	return b.Bytes()
}

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// xmlTime is a time as OSS's documents have it.
func xmlTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func quoted(etag string) string { return `"` + etag + `"` }

type xmlOwner struct {
	ID          string
	DisplayName string
}

// xmlText writes keys as encoding-type asks for them: "url" is the only kind,
// without it they stand in the document as they are.
func (c *call) xmlText() (func(string) string, *fault) {
	switch c.query.Get("encoding-type") {
	case "":
		return func(s string) string { return s }, nil
	case "url":
		// Both SDKs that read + as a space and those that don't understand %20.
		return func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }, nil
	}
	return nil, invalid("encoding-type is url, or is left out.")
}

// number is a query parameter between min and max; without it, or empty, absent.
func (c *call) number(name string, absent, min, max int) (int, *fault) {
	v := c.query.Get(name)
	if v == "" {
		return absent, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < min || n > max {
		f := invalid("%s is a number from %d to %d.", name, min, max)
		f.more = [][2]string{{"ArgumentName", name}, {"ArgumentValue", v}}
		return 0, f
	}
	return n, nil
}
