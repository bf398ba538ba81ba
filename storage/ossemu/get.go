package ossemu

import (
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// overrides are the query parameters that replace headers of an answer.
var overrides = [...]string{
	"response-content-type", "response-content-language", "response-expires",
	"response-cache-control", "response-content-disposition", "response-content-encoding",
}

// getObject answers GetObject, HeadObject and GetObjectMeta.
func (s *Server) getObject(c *call) *fault {
	if f := noVersions(c); f != nil {
		return f
	}
	f, m, fl := s.openObject(c.place)
	if fl != nil {
		return fl
	}
	defer f.Close()
	h := c.w.Header()
	h.Set("ETag", quoted(m.ETag))
	h.Set("Last-Modified", m.Modified.UTC().Format(http.TimeFormat))
	h.Set("X-Oss-Hash-Crc64ecma", strconv.FormatUint(m.CRC64, 10))
	head := c.r.Method == http.MethodHead
	if head && c.has("objectMeta") {
		h.Set("Content-Length", strconv.FormatInt(m.SizeBytes, 10))
		c.begin(http.StatusOK)
		return nil
	}
	if fl := condition(c.r.Header, "", m); fl != nil {
		return fl
	}
	for name, v := range m.Header {
		h.Set(name, v)
	}
	h.Set("Accept-Ranges", "bytes")
	h.Set("X-Oss-Object-Type", m.Type)
	if h.Get("X-Oss-Storage-Class") == "" {
		h.Set("X-Oss-Storage-Class", "Standard")
	}
	if sum, err := hex.DecodeString(m.ETag); err == nil && m.Type == typeNormal {
		h.Set("Content-Md5", base64Of(sum))
	}
	for _, name := range overrides {
		if v := c.query.Get(name); v != "" {
			h.Set(strings.TrimPrefix(name, "response-"), v)
		}
	}
	status, from, length := http.StatusOK, int64(0), m.SizeBytes
	if v := c.r.Header.Get("Range"); v != "" && !head {
		standard := c.r.Header.Get("X-Oss-Range-Behavior") == "standard"
		first, n, kind := parseRange(v, m.SizeBytes, standard)
		switch kind {
		case unsatisfiable:
			return &fault{status: 416, code: "InvalidRange", message: "The requested range cannot be satisfied", ec: "0039-00000001",
				more: [][2]string{{"ActualObjectSize", strconv.FormatInt(m.SizeBytes, 10)}, {"RangeRequested", v}}}
		case partial:
			status, from, length = http.StatusPartialContent, first, n
			h.Del("Content-Md5") // that of the whole
			h.Set("Content-Range", "bytes "+strconv.FormatInt(from, 10)+"-"+strconv.FormatInt(from+length-1, 10)+"/"+strconv.FormatInt(m.SizeBytes, 10))
		}
	}
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return s.diskFault(err)
	}
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	c.begin(status)
	if head {
		return nil
	}
	// A body that ends early breaks the connection: its length was announced.
	if _, err := io.CopyN(c.w, f, length); err != nil {
		s.log.Info("answer cut off", "request", c.id, "error", err)
	}
	return nil
}

func (s *Server) openObject(p place) (*os.File, meta, *fault) {
	f, m, err := s.disk.open(p.bucket, p.key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, m, noSuchKey(p.key)
	case err != nil:
		return nil, m, s.diskFault(err)
	}
	return f, m, nil
}

// noVersions refuses every version but "null", that of buckets without them.
func noVersions(c *call) *fault {
	if v := c.query.Get("versionId"); v != "" && v != "null" {
		return &fault{status: 404, code: "NoSuchVersion", message: "The emulator keeps no versions.", more: [][2]string{{"Key", c.key}, {"VersionId", v}}}
	}
	return nil
}

// condition checks the four conditional headers, whose names begin with prefix.
func condition(h http.Header, prefix string, m meta) *fault {
	failed := func(name string) *fault {
		return &fault{status: 412, code: "PreconditionFailed", message: "At least one of the pre-conditions you specified did not hold.", more: [][2]string{{"Condition", name}}}
	}
	unchanged := &fault{status: 304, code: "NotModified", message: "Not Modified"}
	if v := h.Get(prefix + "If-Match"); v != "" && !sameETag(v, m.ETag) {
		return failed("If-Match")
	}
	if t, ok := httpTime(h.Get(prefix + "If-Unmodified-Since")); ok && m.Modified.After(t) {
		return failed("If-Unmodified-Since")
	}
	if v := h.Get(prefix + "If-None-Match"); v != "" && sameETag(v, m.ETag) {
		return unchanged
	}
	if t, ok := httpTime(h.Get(prefix + "If-Modified-Since")); ok && !m.Modified.After(t) {
		return unchanged
	}
	return nil
}

// sameETag compares with or without quotes, in either case: SDKs send both.
func sameETag(given, etag string) bool {
	return strings.EqualFold(strings.Trim(strings.TrimSpace(given), `"`), etag)
}

func httpTime(v string) (time.Time, bool) {
	t, err := http.ParseTime(v)
	return t, err == nil
}

type rangeKind int

const (
	whole rangeKind = iota
	partial
	unsatisfiable
)

// parseRange reads a Range header: bytes=a-b, bytes=a- or bytes=-n, of several
// the first. OSS answers the whole object when a range leaves the object, unless
// x-oss-range-behavior is standard; then it answers what there is of the range,
// or 416. (OSS's "How to obtain OSS resources by segmenting HTTP Range requests".)
func parseRange(v string, sizeBytes int64, standard bool) (from, length int64, k rangeKind) {
	spec, ok := strings.CutPrefix(v, "bytes=")
	if !ok {
		return 0, 0, whole
	}
	spec, _, _ = strings.Cut(spec, ",")
	a, b, ok := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok {
		return 0, 0, whole
	}
	first, errA := strconv.ParseUint(a, 10, 63)
	last, errB := strconv.ParseUint(b, 10, 63)
	size := uint64(sizeBytes)
	switch {
	case a == "" && errB == nil: // the last so many bytes
		if last > size && !standard {
			return 0, 0, whole
		}
		if n := min(last, size); n > 0 {
			return int64(size - n), int64(n), partial
		}
	case errA != nil || b != "" && errB != nil || b != "" && last < first:
		return 0, 0, whole
	case first < size:
		if b == "" {
			last = size - 1
		}
		if last >= size && !standard {
			return 0, 0, whole
		}
		last = min(last, size-1)
		return int64(first), int64(last - first + 1), partial
	}
	if standard {
		return 0, 0, unsatisfiable
	}
	return 0, 0, whole
}
