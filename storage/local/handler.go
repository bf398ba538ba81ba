package local

import (
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uploadbroker/uploadbroker/storage"
)

// onPutWait is the longest that a client's answer waits for OnPut.
const onPutWait = 50 * time.Millisecond

// HandlerOptions are what the program may add to a Handler.
type HandlerOptions struct {
	// OnPut is told the key of each object that a client stored, so that the
	// broker looks at once. It runs on a goroutine of its own; the client's
	// answer waits for it at most 50 ms. A panic in it is logged.
	OnPut func(key string)
	// Log takes faults of the gateway and of OnPut. nil: slog.Default().
	Log *slog.Logger
}

// Handler serves the bucket's signed URLs. It is mounted at "/<bucket>/" with
// the path left as it is, and needs no authentication before it: what is not a
// GET, HEAD or PUT of one object with a signature in its query never reaches the
// gateway, and the gateway proves the signature.
//
// Answers can't act on the site that they come from: uploaded HTML is sandboxed,
// never sniffed, and saved instead of shown. Cookies and Authorization headers
// end here. Pages of every origin may use a signed URL, for the signature is the
// right to.
func (b *Bucket) Handler(o HandlerOptions) http.Handler {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	h := &handler{bucket: b, onPut: o.OnPut, log: o.Log}
	h.proxy = &httputil.ReverseProxy{
		Transport:      b.gateway.transport,
		Rewrite:        h.rewrite,
		ModifyResponse: h.modify,
		ErrorHandler:   h.fault,
		BufferPool:     &h.buffers,
		ErrorLog:       slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug), // broken-off transfers
	}
	return h
}

type handler struct {
	bucket  *Bucket
	onPut   func(key string)
	log     *slog.Logger
	proxy   *httputil.ReverseProxy
	buffers buffers
	refused atomic.Int64 // the smallest upload, in bytes, that found no space, while that is so
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protect(w.Header())
	key, fault := h.keyOf(r)
	switch {
	case fault != nil:
		refuse(w, r, *fault)
	case r.Method == http.MethodOptions:
		preflight(w, r)
	default:
		if fault := checkRequest(r); fault != nil {
			refuse(w, r, *fault)
			return
		}
		if r.Method == http.MethodPut && !h.hasSpace(r.ContentLength) {
			refuseEarly(w, r, faultFull)
			return
		}
		// The gateway's path is made anew from the key, so that none but the
		// plain spelling of a key gets there.
		r = r.Clone(r.Context())
		r.URL.Path = "/" + h.bucket.name + "/" + key
		r.URL.RawPath = escapeKey(r.URL.Path)
		h.proxy.ServeHTTP(w, r)
	}
}

// hasSpace asks before the body is sent; the gateway asks again. The log is told
// when that changes, not of every refused upload.
func (h *handler) hasSpace(bytes int64) bool {
	fits := h.bucket.gateway.disk.fits(bytes)
	refused := h.refused.Load()
	switch {
	case !fits && (refused == 0 || bytes < refused):
		h.refused.Store(max(bytes, 1))
		h.log.Error("the disk of the local bucket is full: uploads are refused until space is freed; what is left is kept free for the database",
			"folder", h.bucket.gateway.dir, "upload_bytes", bytes)
	case fits && refused > 0 && bytes >= refused:
		h.refused.Store(0)
		h.log.Info("the disk of the local bucket has space again", "folder", h.bucket.gateway.dir)
	}
	return fits
}

// keyOf reads the key that the path names.
func (h *handler) keyOf(r *http.Request) (string, *s3Fault) {
	escaped, ok := strings.CutPrefix(r.URL.EscapedPath(), "/"+h.bucket.name+"/")
	// An escaped slash is one to the file system, but none to a router or proxy
	// between: nobody who was given a URL of ours has one.
	if !ok || escaped == "" || strings.Contains(strings.ToLower(escaped), "%2f") {
		return "", &faultDenied
	}
	key, err := url.PathUnescape(escaped)
	if err != nil || storage.CheckKey(key) != nil || reserved(key) {
		return "", &faultKey
	}
	return key, nil
}

// checkRequest refuses what a signed URL of ours never is.
func checkRequest(r *http.Request) *s3Fault {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPut:
	default:
		return &faultMethod
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || query.Get("X-Amz-Signature") == "" || query.Get("X-Amz-Credential") == "" {
		return &faultDenied
	}
	for name, values := range query {
		// Sub-resources (?acl, ?tagging, ?uploadId=…) are other operations.
		if len(values) != 1 || !slices.Contains(signedQuery, name) {
			return &faultDenied
		}
	}
	if r.Method == http.MethodPut && r.ContentLength < 0 {
		return &faultLength
	}
	// As S3 does, and the gateway since its release 1.8: else x-amz-copy-source
	// would copy any other object into this one.
	signed := strings.Split(query.Get("X-Amz-SignedHeaders"), ";")
	for name := range r.Header {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, "x-amz-") && !slices.Contains(signed, lower) && !slices.Contains(ignoredHeaders, lower) {
			return &faultHeader
		}
	}
	return nil
}

// signedQuery are the names that SignPut and SignGet write.
var signedQuery = []string{
	"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature",
	"response-content-disposition", "response-content-type", "x-id",
}

// ignoredHeaders are sent by S3 clients without being part of a presigned
// request; they are dropped.
var ignoredHeaders = []string{"x-amz-content-sha256", "x-amz-user-agent", "x-amz-date"}

// rewrite makes the gateway's request. ReverseProxy has taken out hop-by-hop
// headers and X-Forwarded-*.
func (h *handler) rewrite(p *httputil.ProxyRequest) {
	p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = "http", internalHost, internalHost
	for name := range p.Out.Header {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, "x-forwarded-") || slices.Contains(ignoredHeaders, lower) {
			delete(p.Out.Header, name)
		}
	}
	for _, name := range []string{
		"Cookie", "Authorization", // the site's, none of the gateway's business
		"Expect",                // answered by this server as soon as it reads the body
		"Connection", "Upgrade", // there is nothing to upgrade to
		"Origin", // CORS is answered here
		"X-Real-Ip", "Forwarded",
	} {
		p.Out.Header.Del(name)
	}
}

// modify makes the gateway's answer safe and tells of what was stored.
func (h *handler) modify(resp *http.Response) error {
	for name := range resp.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			delete(resp.Header, name)
		}
	}
	for _, name := range []string{"Server", "Set-Cookie", "Vary"} {
		resp.Header.Del(name)
	}
	disposition := resp.Header.Get("Content-Disposition")
	if mayShow(resp.Header.Get("Content-Type")) {
		disposition = dispositionOf(disposition, false)
	} else {
		disposition = dispositionOf(disposition, true)
	}
	// The safe headers are set already; the proxy would add to them.
	for name := range protectedHeaders() {
		resp.Header.Del(name)
	}
	if disposition != "" {
		resp.Header.Set("Content-Disposition", disposition)
	}
	if resp.Request.Method == http.MethodPut && resp.StatusCode/100 == 2 && h.onPut != nil {
		key := strings.TrimPrefix(resp.Request.URL.Path, "/"+h.bucket.name+"/")
		h.callOnPut(key)
	}
	return nil
}

func (h *handler) callOnPut(key string) {
	done := make(chan struct{})
	h.bucket.gateway.calls.Go(func() {
		defer close(done)
		defer func() {
			if fault := recover(); fault != nil {
				h.log.Error("the callback for a stored object panicked", "key", key, "panic", fault)
			}
		}()
		h.onPut(key)
	})
	timer := time.NewTimer(onPutWait)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// fault answers when the gateway does not. The error is logged without the URL,
// which is a right.
func (h *handler) fault(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // the client is gone
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		refuse(w, r, faultIncomplete) // the client's body broke off
		return
	}
	h.log.Warn("the local bucket's gateway does not answer", "method", r.Method, "path", r.URL.Path, "error", err)
	refuse(w, r, faultGateway)
}

// protect sets the headers that every answer has, also errors.
func protect(header http.Header) {
	for name, value := range protectedHeaders() {
		header.Set(name, value)
	}
}

func protectedHeaders() map[string]string {
	return map[string]string{
		"Content-Security-Policy":       "sandbox; default-src 'none'",
		"X-Content-Type-Options":        "nosniff",
		"Access-Control-Allow-Origin":   "*",
		"Access-Control-Expose-Headers": "ETag, Content-Length, Content-Range, Content-Disposition, x-amz-checksum-sha1, x-amz-request-id",
		"Cross-Origin-Resource-Policy":  "cross-origin",
		"Referrer-Policy":               "no-referrer",
	}
}

// preflight answers for a browser that is about to send headers of a grant. It
// says yes to every one: what may be sent, the signature decides.
func preflight(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Access-Control-Allow-Methods", "GET, HEAD, PUT")
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		header.Set("Access-Control-Allow-Headers", asked)
	}
	header.Set("Access-Control-Max-Age", "7200") // the longest that browsers keep it
	header.Set("Vary", "Access-Control-Request-Headers")
	w.WriteHeader(http.StatusNoContent)
}

// mayShow reports whether a browser may show the type on our site.
func mayShow(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && (kind == "image/jpeg" || kind == "image/png" || kind == "image/webp")
}

// dispositionOf keeps a file name that the link or the uploader gave, and makes
// it an attachment when it must be one.
func dispositionOf(given string, must bool) string {
	kind, params, err := mime.ParseMediaType(given)
	switch {
	case err != nil || kind == "":
		if must {
			return "attachment"
		}
		return ""
	case kind == "attachment":
		return given
	case must:
		if out := mime.FormatMediaType("attachment", params); out != "" {
			return out
		}
		return "attachment"
	}
	return given
}

// s3Fault is an error in S3's form (Amazon S3 API Reference, "REST error responses").
type s3Fault struct {
	status        int
	code, message string
}

var (
	faultDenied     = s3Fault{http.StatusForbidden, "AccessDenied", "Only a signed URL of this bucket works here."}
	faultHeader     = s3Fault{http.StatusForbidden, "AccessDenied", "There were headers present in the request which were not signed."}
	faultKey        = s3Fault{http.StatusBadRequest, "InvalidURI", "The path names no object."}
	faultMethod     = s3Fault{http.StatusMethodNotAllowed, "MethodNotAllowed", "Only GET, HEAD and PUT are allowed here."}
	faultLength     = s3Fault{http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header."}
	faultIncomplete = s3Fault{http.StatusBadRequest, "IncompleteBody", "The body ended before its Content-Length."}
	faultGateway    = s3Fault{http.StatusServiceUnavailable, "ServiceUnavailable", "The bucket does not answer. Please try again."}
	faultFull       = s3Fault{http.StatusInsufficientStorage, "InsufficientStorage", fullText}
)

func refuse(w http.ResponseWriter, r *http.Request, f s3Fault) {
	header := w.Header()
	header.Set("Content-Type", "application/xml")
	header.Set("Content-Disposition", "attachment")
	if f.status == http.StatusMethodNotAllowed {
		header.Set("Allow", "GET, HEAD, PUT, OPTIONS")
	}
	if f.status == http.StatusServiceUnavailable {
		header.Set("Retry-After", "5")
	}
	w.WriteHeader(f.status)
	if r.Method == http.MethodHead {
		return
	}
	io.WriteString(w, xml.Header)
	xml.NewEncoder(w).Encode(struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}{Code: f.code, Message: f.message})
}

// refuseEarly answers before the body is read and then reads on: a client that
// looks for an answer while it sends has it at once, one that looks only later
// still gets it.
func refuseEarly(w http.ResponseWriter, r *http.Request, f s3Fault) {
	control := http.NewResponseController(w)
	// Without either the answer comes all the same, after the body's beginning.
	_ = control.EnableFullDuplex()
	refuse(w, r, f)
	_ = control.Flush()
	drain(r.Body)
}

// buffers keeps the proxy's copying free of garbage.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 64<<10)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }

// escapeKey escapes a path as the signer does.
func escapeKey(path string) string {
	const hex = "0123456789ABCDEF"
	out := make([]byte, 0, len(path)+16)
	for i := range len(path) {
		c := path[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_.~/", c) >= 0:
			out = append(out, c)
		default:
			out = append(out, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(out)
}
