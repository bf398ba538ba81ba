package ossemu

import (
	"encoding/xml"
	"sort"
	"strings"
)

type xmlPart struct {
	PartNumber    int
	LastModified  string
	ETag          string
	HashCrc64ecma uint64
	Size          int64
}

func (s *Server) listParts(c *call) *fault {
	text, f := c.xmlText()
	if f != nil {
		return f
	}
	limit, f := c.number("max-parts", mostKeys, 1, mostKeys)
	if f != nil {
		return f
	}
	after, f := c.number("part-number-marker", 0, 0, mostParts)
	if f != nil {
		return f
	}
	u, f := s.uploadOf(c)
	if f != nil {
		return f
	}
	defer s.disk.locks.read(u.lockName())()
	parts, err := s.disk.parts(u)
	if err != nil {
		if absent(err) {
			return noSuchUpload(u.id)
		}
		return s.diskFault(err)
	}
	parts = parts[sort.Search(len(parts), func(i int) bool { return parts[i].number > after }):]
	out := struct {
		XMLName              xml.Name `xml:"ListPartsResult"`
		EncodingType         string   `xml:",omitempty"`
		Bucket               string
		Key                  string
		UploadId             string
		StorageClass         string
		PartNumberMarker     int
		NextPartNumberMarker int
		MaxParts             int
		IsTruncated          bool
		Part                 []xmlPart
	}{
		EncodingType: c.query.Get("encoding-type"), Bucket: c.place.bucket, Key: text(c.key), UploadId: u.id,
		StorageClass: "Standard", PartNumberMarker: after, MaxParts: limit, IsTruncated: len(parts) > limit,
	}
	for _, p := range parts[:min(limit, len(parts))] {
		out.Part = append(out.Part, xmlPart{p.number, xmlTime(p.modified), quoted(p.etag), p.crc64, p.sizeBytes})
		out.NextPartNumberMarker = p.number
	}
	return c.answer(out)
}

type xmlUpload struct {
	Key          string
	UploadId     string
	StorageClass string
	Initiated    string
}

func (s *Server) listUploads(c *call) *fault {
	q := c.query
	text, f := c.xmlText()
	if f != nil {
		return f
	}
	limit, f := c.number("max-uploads", mostKeys, 1, mostKeys)
	if f != nil {
		return f
	}
	all, err := s.disk.uploads(c.place.bucket)
	if err != nil {
		return s.diskFault(err)
	}
	prefix, delimiter, keyMarker, idMarker := q.Get("prefix"), q.Get("delimiter"), q.Get("key-marker"), q.Get("upload-id-marker")
	out := struct {
		XMLName            xml.Name `xml:"ListMultipartUploadsResult"`
		EncodingType       string   `xml:",omitempty"`
		Bucket             string
		KeyMarker          string
		UploadIdMarker     string
		NextKeyMarker      string
		NextUploadIdMarker string
		Delimiter          string
		Prefix             string
		MaxUploads         int
		IsTruncated        bool
		Upload             []xmlUpload
		CommonPrefixes     []xmlPrefix
	}{
		EncodingType: q.Get("encoding-type"), Bucket: c.place.bucket, KeyMarker: text(keyMarker), UploadIdMarker: idMarker,
		Delimiter: text(delimiter), Prefix: text(prefix), MaxUploads: limit,
	}
	p := page{prefix: prefix, delimiter: delimiter}
	p.begin(keyMarker, true)
	lastKey, lastID := "", ""
	for _, u := range all {
		// Without an id the marker's own key is behind, with one its later uploads are not.
		behind := u.Key < keyMarker || u.Key == keyMarker && (idMarker == "" || u.id <= idMarker)
		if behind || !strings.HasPrefix(u.Key, prefix) || p.skip != "" && strings.HasPrefix(u.Key, p.skip) {
			continue
		}
		if len(out.Upload)+len(out.CommonPrefixes) == limit {
			out.IsTruncated, out.NextKeyMarker, out.NextUploadIdMarker = true, text(lastKey), lastID
			break
		}
		if common, ok := p.common(u.Key); ok {
			out.CommonPrefixes = append(out.CommonPrefixes, xmlPrefix{text(common)})
			p.skip, lastKey, lastID = common, common, ""
			continue
		}
		out.Upload = append(out.Upload, xmlUpload{text(u.Key), u.id, "Standard", xmlTime(u.Begun)})
		lastKey, lastID = u.Key, u.id
	}
	return c.answer(out)
}
