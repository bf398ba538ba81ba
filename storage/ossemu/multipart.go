package ossemu

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"net/http"
	"net/url"
	"os"
	"sort"
	"strconv"
	"strings"
)

// Limits of uploads in parts, from OSS's documentation of UploadPart.
const (
	mostParts    = 10000
	smallestPart = 100 << 10 // bytes, but for the last one
)

func (s *Server) initiate(c *call) *fault {
	header, f := objectHeader(c.r)
	if f != nil {
		return f
	}
	if _, f := s.forbidOverwrite(c); f != nil {
		return f
	}
	text, f := c.xmlText()
	if f != nil {
		return f
	}
	u, err := s.disk.beginUpload(c.place.bucket, c.key, header)
	if err != nil {
		return s.diskFault(err)
	}
	return c.answer(struct {
		XMLName      xml.Name `xml:"InitiateMultipartUploadResult"`
		EncodingType string   `xml:",omitempty"`
		Bucket       string
		Key          string
		UploadId     string
	}{EncodingType: c.query.Get("encoding-type"), Bucket: c.place.bucket, Key: text(c.key), UploadId: u.id})
}

// uploadOf answers the upload that the request names.
func (s *Server) uploadOf(c *call) (upload, *fault) {
	id := c.query.Get("uploadId")
	u, err := s.disk.upload(c.place.bucket, id)
	switch {
	case err != nil && absent(err), err == nil && u.Key != c.key:
		return u, noSuchUpload(id)
	case err != nil:
		return u, s.diskFault(err)
	}
	return u, nil
}

func noSuchUpload(id string) *fault {
	return &fault{status: 404, code: "NoSuchUpload", message: "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.", ec: "0042-00000002", more: [][2]string{{"UploadId", id}}}
}

// partOf reads a part's number, and which upload it is of.
func (s *Server) partOf(c *call) (int, upload, *fault) {
	number, f := c.number("partNumber", 0, 1, mostParts)
	if f == nil && number == 0 {
		f = invalid("partNumber is missing.")
	}
	if f != nil {
		return 0, upload{}, f
	}
	u, f := s.uploadOf(c)
	return number, u, f
}

func (s *Server) uploadPart(c *call) *fault {
	number, u, f := s.partOf(c)
	if f != nil {
		return f
	}
	tmp, f := s.spoolBody(c)
	if f != nil {
		return f
	}
	if f := s.savePart(c, u, number, tmp); f != nil {
		return f
	}
	c.w.Header().Set("Content-Md5", base64Of(tmp.md5))
	return c.empty(http.StatusOK)
}

func (s *Server) savePart(c *call, u upload, number int, tmp spooled) *fault {
	if err := s.disk.savePart(u, number, tmp); err != nil {
		if absent(err) {
			return noSuchUpload(u.id) // it was completed or aborted meanwhile
		}
		return s.diskFault(err)
	}
	h := c.w.Header()
	h.Set("ETag", quoted(upperHex(tmp.md5)))
	h.Set("X-Oss-Hash-Crc64ecma", strconv.FormatUint(tmp.crc64, 10))
	return nil
}

func (s *Server) complete(c *call) *fault {
	if f := noCallback(c.r); f != nil {
		return f
	}
	forbid, f := s.forbidOverwrite(c)
	if f != nil {
		return f
	}
	text, f := c.xmlText()
	if f != nil {
		return f
	}
	var in struct {
		XMLName xml.Name `xml:"CompleteMultipartUpload"`
		Part    []struct {
			PartNumber int
			ETag       string
		}
	}
	body, f := s.readXML(c, &in)
	if f != nil {
		return f
	}
	u, f := s.uploadOf(c)
	if f != nil {
		return f
	}
	defer s.disk.locks.write(u.lockName())()
	there, err := s.disk.parts(u)
	if err != nil {
		if absent(err) {
			return noSuchUpload(u.id)
		}
		return s.diskFault(err)
	}
	var parts []part
	switch strings.ToLower(c.r.Header.Get("X-Oss-Complete-All")) {
	case "yes":
		if len(body) > 0 {
			return invalid("With x-oss-complete-all the body is empty.")
		}
		if parts = there; len(parts) == 0 {
			return &fault{status: 400, code: "InvalidPart", message: "The upload has no parts."}
		}
	default:
		if len(in.Part) == 0 || len(in.Part) > mostParts {
			return malformed("CompleteMultipartUpload holds 1 to 10000 Parts")
		}
		for i, want := range in.Part {
			if i > 0 && want.PartNumber <= in.Part[i-1].PartNumber {
				return &fault{status: 400, code: "InvalidPartOrder", message: "The list of parts was not in ascending order. Parts list must be specified in order by part number."}
			}
			at := sort.Search(len(there), func(i int) bool { return there[i].number >= want.PartNumber })
			if at == len(there) || there[at].number != want.PartNumber || !sameETag(want.ETag, there[at].etag) {
				return &fault{status: 400, code: "InvalidPart", message: "One or more of the specified parts could not be found or the specified entity tag might not have matched the part's entity tag.",
					more: [][2]string{{"PartNumber", strconv.Itoa(want.PartNumber)}, {"ETag", want.ETag}}}
			}
			parts = append(parts, there[at])
		}
	}
	for _, p := range parts[:len(parts)-1] {
		if p.sizeBytes < smallestPart {
			return &fault{status: 400, code: "EntityTooSmall", message: "Your proposed upload is smaller than the minimum allowed object size.",
				more: [][2]string{{"ProposedSize", strconv.FormatInt(p.sizeBytes, 10)}, {"MinSizeAllowed", strconv.Itoa(smallestPart)}, {"PartNumber", strconv.Itoa(p.number)}}}
		}
	}
	m, f := s.assemble(c, u, parts, forbid)
	if f != nil {
		return f
	}
	if err := s.disk.discard(u.dir); err != nil {
		s.log.Error("emulator's disk", "error", err)
	}
	c.w.Header().Set("X-Oss-Hash-Crc64ecma", strconv.FormatUint(m.CRC64, 10))
	return c.answer(struct {
		XMLName      xml.Name `xml:"CompleteMultipartUploadResult"`
		EncodingType string   `xml:",omitempty"`
		Location     string
		Bucket       string
		Key          string
		ETag         string
	}{
		EncodingType: c.query.Get("encoding-type"), Location: "http://" + c.r.Host + (&url.URL{Path: c.r.URL.Path}).EscapedPath(),
		Bucket: c.place.bucket, Key: text(c.key), ETag: quoted(m.ETag),
	})
}

// assemble makes the object out of the parts. Its ETag is the MD5 of the parts'
// MD5s with their count; its CRC-64 is combined from theirs.
func (s *Server) assemble(c *call, u upload, parts []part, forbid bool) (meta, *fault) {
	m := meta{Type: typeMultipart, Header: u.Header}
	sum := md5.New()
	var paths []string
	for _, p := range parts {
		b, _ := hex.DecodeString(p.etag) // it was parsed from the file's name
		sum.Write(b)
		m.CRC64 = combineCRC(m.CRC64, p.crc64, p.sizeBytes)
		m.SizeBytes += p.sizeBytes
		paths = append(paths, p.path)
	}
	m.ETag = upperHex(sum.Sum(nil)) + "-" + strconv.Itoa(len(parts))
	tmp, err := s.disk.join(paths)
	if err != nil {
		return m, s.diskFault(err)
	}
	if fi, err := os.Stat(tmp); err != nil || fi.Size() != m.SizeBytes {
		os.Remove(tmp)
		return m, internal("The emulator's files of the parts have other lengths than they had.")
	}
	m, err = s.disk.commit(c.place.bucket, c.key, tmp, m, forbid)
	return m, s.commitFault(c, err)
}

func (s *Server) abort(c *call) *fault {
	u, f := s.uploadOf(c)
	if f != nil {
		return f
	}
	defer s.disk.locks.write(u.lockName())()
	if err := s.disk.discard(u.dir); err != nil {
		if absent(err) {
			return noSuchUpload(u.id)
		}
		return s.diskFault(err)
	}
	return c.empty(http.StatusNoContent)
}
