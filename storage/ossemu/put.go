package ossemu

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"
)

// largestPut is the limit of PutObject, of one part, and of CopyObject, in bytes.
const largestPut = 5 << 30

// contentHeaders are kept with an object beside x-oss-meta-*.
var contentHeaders = [...]string{
	"Content-Type", "Cache-Control", "Content-Disposition", "Content-Encoding",
	"Content-Language", "Expires", "X-Oss-Storage-Class",
}

func (s *Server) putObject(c *call) *fault {
	header, f := objectHeader(c.r)
	if f != nil {
		return f
	}
	forbid, f := s.forbidOverwrite(c)
	if f != nil {
		return f
	}
	tmp, f := s.spoolBody(c)
	if f != nil {
		return f
	}
	m, err := s.disk.commit(c.place.bucket, c.key, tmp.path, meta{
		SizeBytes: tmp.sizeBytes, ETag: upperHex(tmp.md5), CRC64: tmp.crc64, Type: typeNormal, Header: header,
	}, forbid)
	if f := s.commitFault(c, err); f != nil {
		return f
	}
	h := c.w.Header()
	h.Set("ETag", quoted(m.ETag))
	h.Set("Content-Md5", base64Of(tmp.md5))
	h.Set("X-Oss-Hash-Crc64ecma", strconv.FormatUint(m.CRC64, 10))
	return c.empty(http.StatusOK)
}

func (s *Server) commitFault(c *call, err error) *fault {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errExists):
		return exists(c.key)
	}
	return s.diskFault(err)
}

// spoolBody stores the request's body in a temporary file, whole and as its
// Content-MD5 says, or not at all.
func (s *Server) spoolBody(c *call) (spooled, *fault) {
	r := c.r
	if r.ContentLength > largestPut {
		return spooled{}, tooLarge()
	}
	// Chunked bodies have the length -1; the header is there for a length of 0 too.
	if r.ContentLength == 0 && r.Header.Get("Content-Length") == "" {
		return spooled{}, &fault{status: 411, code: "MissingContentLength", message: "You must provide the Content-Length HTTP header."}
	}
	want, f := contentMD5(r)
	if f != nil {
		return spooled{}, f
	}
	tmp, err := s.disk.spool(http.MaxBytesReader(nil, r.Body, largestPut))
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return spooled{}, tooLarge()
	case err != nil:
		return spooled{}, s.bodyFault(err)
	case want != nil && !bytes.Equal(want, tmp.md5):
		os.Remove(tmp.path)
		return spooled{}, wrongMD5(want, tmp.md5)
	}
	return tmp, nil
}

func tooLarge() *fault {
	return &fault{status: 400, code: "EntityTooLarge", message: "Your proposed upload exceeds the maximum allowed object size.", more: [][2]string{{"MaxSizeAllowed", strconv.Itoa(largestPut)}}}
}

func wrongMD5(want, got []byte) *fault {
	return &fault{status: 400, code: "InvalidDigest", message: "The Content-MD5 you specified did not match what we received.",
		more: [][2]string{{"ClientComputedContentMD5", base64Of(want)}, {"ServerComputedContentMD5", base64Of(got)}}}
}

// contentMD5 reads the header; nil when there is none.
func contentMD5(r *http.Request) ([]byte, *fault) {
	v := r.Header.Get("Content-Md5")
	if v == "" {
		return nil, nil
	}
	sum, err := base64.StdEncoding.DecodeString(v)
	if err != nil || len(sum) != md5.Size {
		return nil, &fault{status: 400, code: "InvalidDigest", message: "The Content-MD5 you specified is invalid.", more: [][2]string{{"Content-MD5", v}}}
	}
	return sum, nil
}

func checkMD5(r *http.Request, body []byte) *fault {
	want, f := contentMD5(r)
	if f != nil || want == nil {
		return f
	}
	if got := md5.Sum(body); !bytes.Equal(want, got[:]) {
		return wrongMD5(want, got[:])
	}
	return nil
}

// forbidOverwrite reads x-oss-forbid-overwrite, and refuses before the body is
// read what could not be stored after it. OSS does not know If-None-Match here.
func (s *Server) forbidOverwrite(c *call) (bool, *fault) {
	switch v := c.r.Header.Get("X-Oss-Forbid-Overwrite"); strings.ToLower(v) {
	case "", "false":
		return false, nil
	case "true":
		if _, err := s.disk.find(c.place.bucket, c.key); err == nil {
			return true, exists(c.key)
		}
		return true, nil
	default:
		return false, invalid("x-oss-forbid-overwrite is true or false.")
	}
}

// objectHeader collects what an upload says about the object. What would change
// what is stored, and which the emulator can't do, it refuses.
func objectHeader(r *http.Request) (map[string]string, *fault) {
	if f := noCallback(r); f != nil {
		return nil, f
	}
	for _, name := range []string{"X-Oss-Tagging", "X-Oss-Server-Side-Encryption", "X-Oss-Server-Side-Data-Encryption"} {
		if r.Header.Get(name) != "" {
			return nil, &fault{status: 501, code: "NotImplemented", message: "The emulator has no " + strings.ToLower(name) + "."}
		}
	}
	switch v := r.Header.Get("X-Oss-Object-Acl"); v {
	case "", "default", "private", "public-read", "public-read-write":
	default:
		return nil, invalid("x-oss-object-acl is default, private, public-read or public-read-write.")
	}
	switch v := r.Header.Get("X-Oss-Storage-Class"); v {
	case "", "Standard", "IA", "Archive", "ColdArchive", "DeepColdArchive":
	default:
		return nil, invalid("x-oss-storage-class is Standard, IA, Archive, ColdArchive or DeepColdArchive.")
	}
	header := map[string]string{}
	for _, name := range contentHeaders {
		if v := r.Header.Get(name); v != "" {
			header[name] = v
		}
	}
	if header["Content-Type"] == "" {
		header["Content-Type"] = "application/octet-stream"
	}
	sizeBytes := 0
	for name, values := range r.Header {
		if key, ok := strings.CutPrefix(name, "X-Oss-Meta-"); ok {
			header[name] = strings.Join(values, ",")
			sizeBytes += len(key) + len(header[name])
		}
	}
	if sizeBytes > 8<<10 {
		return nil, invalid("The x-oss-meta-* headers are longer than 8 KB together.")
	}
	return header, nil
}

// noCallback refuses callbacks: a client that asks for one reads the callback's
// answer in place of OSS's, and whoever is called checks Aliyun's own signature.
func noCallback(r *http.Request) *fault {
	if r.Header.Get("X-Oss-Callback") == "" && !r.URL.Query().Has("callback") {
		return nil
	}
	return invalid("The emulator makes no callbacks: it can't sign them with Aliyun's key. Leave x-oss-callback out.")
}
