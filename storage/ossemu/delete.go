package ossemu

import (
	"encoding/xml"
	"net/http"
)

func (s *Server) deleteObject(c *call) *fault {
	if f := noVersions(c); f != nil {
		return f
	}
	if err := s.disk.remove(c.place.bucket, c.key); err != nil {
		return s.diskFault(err)
	}
	return c.empty(http.StatusNoContent)
}

// mostDeletes is how many keys one DeleteMultipleObjects names.
const mostDeletes = 1000

func (s *Server) deleteObjects(c *call) *fault {
	if c.r.Header.Get("Content-Md5") == "" {
		return invalid("DeleteMultipleObjects needs the header Content-MD5.")
	}
	var in struct {
		XMLName xml.Name `xml:"Delete"`
		Quiet   bool
		Object  []struct{ Key, VersionId string }
	}
	text, f := c.xmlText()
	if f != nil {
		return f
	}
	if _, f := s.readXML(c, &in); f != nil {
		return f
	}
	if len(in.Object) == 0 || len(in.Object) > mostDeletes {
		return malformed("Delete holds 1 to 1000 Objects")
	}
	// All is checked before anything goes.
	for _, o := range in.Object {
		if f := c.who.may("oss:DeleteObject", resource(place{c.place.bucket, o.Key})); f != nil {
			return f
		}
		if f := checkKey(o.Key); f != nil {
			return f
		}
		if o.VersionId != "" && o.VersionId != "null" {
			return &fault{status: 501, code: "NotImplemented", message: "The emulator keeps no versions."}
		}
	}
	type deleted struct{ Key string }
	out := struct {
		XMLName      xml.Name `xml:"DeleteResult"`
		EncodingType string   `xml:",omitempty"`
		Deleted      []deleted
	}{EncodingType: c.query.Get("encoding-type")}
	for _, o := range in.Object {
		if err := s.disk.remove(c.place.bucket, o.Key); err != nil {
			return s.diskFault(err)
		}
		if !in.Quiet {
			out.Deleted = append(out.Deleted, deleted{text(o.Key)})
		}
	}
	if in.Quiet {
		return c.empty(http.StatusOK)
	}
	return c.answer(out)
}
