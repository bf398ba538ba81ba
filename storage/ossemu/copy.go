package ossemu

import (
	"encoding/xml"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// copySource opens what x-oss-copy-source names, if the caller may read it and
// its conditions hold: "/bucket/key" with the key encoded, "+" for a space (as
// the Go SDK sends it) or %20.
func (s *Server) copySource(c *call) (*os.File, meta, *fault) {
	v, version, _ := strings.Cut(c.r.Header.Get("X-Oss-Copy-Source"), "?")
	if id, ok := strings.CutPrefix(version, "versionId="); ok && id != "null" {
		return nil, meta{}, &fault{status: 404, code: "NoSuchVersion", message: "The emulator keeps no versions."}
	}
	decoded, err := url.QueryUnescape(strings.TrimPrefix(v, "/"))
	bucket, key, ok := strings.Cut(decoded, "/")
	if err != nil || !ok || !validBucket(bucket) || !validKey(key) {
		return nil, meta{}, invalid("x-oss-copy-source is /bucket/key, with the key URL-encoded.")
	}
	from := place{bucket, key}
	if f := c.who.may("oss:GetObject", resource(from)); f != nil {
		return nil, meta{}, f
	}
	if _, err := s.disk.bucket(bucket); err != nil {
		return nil, meta{}, noSuchBucket(bucket)
	}
	file, m, f := s.openObject(from)
	if f != nil {
		return nil, m, f
	}
	if f := condition(c.r.Header, "X-Oss-Copy-Source-", m); f != nil {
		file.Close()
		return nil, m, f
	}
	return file, m, nil
}

type copyResult struct {
	XMLName      xml.Name
	LastModified string
	ETag         string
}

func (s *Server) copyObject(c *call) *fault {
	header, f := objectHeader(c.r)
	if f != nil {
		return f
	}
	forbid, f := s.forbidOverwrite(c)
	if f != nil {
		return f
	}
	file, m, f := s.copySource(c)
	if f != nil {
		return f
	}
	defer file.Close()
	if m.SizeBytes > largestPut {
		return tooLarge()
	}
	switch v := strings.ToUpper(c.r.Header.Get("X-Oss-Metadata-Directive")); v {
	case "", "COPY":
		class := header["X-Oss-Storage-Class"]
		header = map[string]string{}
		for name, v := range m.Header {
			header[name] = v
		}
		delete(header, "X-Oss-Storage-Class")
		if class != "" {
			header["X-Oss-Storage-Class"] = class
		}
	case "REPLACE":
	default:
		return invalid("x-oss-metadata-directive is COPY or REPLACE.")
	}
	tmp, err := s.disk.spool(file)
	if err != nil {
		return s.diskFault(err)
	}
	m, err = s.disk.commit(c.place.bucket, c.key, tmp.path, meta{
		SizeBytes: tmp.sizeBytes, ETag: upperHex(tmp.md5), CRC64: tmp.crc64, Type: typeNormal, Header: header,
	}, forbid)
	if f := s.commitFault(c, err); f != nil {
		return f
	}
	c.w.Header().Set("X-Oss-Hash-Crc64ecma", strconv.FormatUint(m.CRC64, 10))
	return c.answer(copyResult{xml.Name{Local: "CopyObjectResult"}, xmlTime(m.Modified), quoted(m.ETag)})
}

func (s *Server) uploadPartCopy(c *call) *fault {
	number, u, f := s.partOf(c)
	if f != nil {
		return f
	}
	file, m, f := s.copySource(c)
	if f != nil {
		return f
	}
	defer file.Close()
	var src io.Reader = file
	size := m.SizeBytes
	if v := c.r.Header.Get("X-Oss-Copy-Source-Range"); v != "" {
		// As for GetObject, a range that leaves the object counts as none.
		if first, n, k := parseRange(v, m.SizeBytes, false); k == partial {
			src, size = io.NewSectionReader(file, first, n), n
		}
	}
	if size > largestPut {
		return tooLarge()
	}
	tmp, err := s.disk.spool(src)
	if err != nil {
		return s.diskFault(err)
	}
	if f := s.savePart(c, u, number, tmp); f != nil {
		return f
	}
	return c.answer(copyResult{xml.Name{Local: "CopyPartResult"}, xmlTime(s.disk.modified()), quoted(upperHex(tmp.md5))})
}
