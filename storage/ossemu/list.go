package ossemu

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io/fs"
	"strings"
)

// Limits of one page of a list.
const (
	usualKeys = 100
	mostKeys  = 1000
)

type xmlPrefix struct{ Prefix string }

type xmlObject struct {
	Key          string
	LastModified string
	ETag         string
	Type         string
	Size         int64
	StorageClass string
	Owner        *xmlOwner
}

// objectList is the answer of both versions of ListObjects.
type objectList struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	Name                  string
	Prefix                string
	Marker                *string // version 1
	StartAfter            string  `xml:",omitempty"`
	ContinuationToken     string  `xml:",omitempty"`
	MaxKeys               int
	Delimiter             string
	EncodingType          string `xml:",omitempty"`
	IsTruncated           bool
	NextMarker            string `xml:",omitempty"`
	NextContinuationToken string `xml:",omitempty"`
	KeyCount              *int   // version 2
	Contents              []xmlObject
	CommonPrefixes        []xmlPrefix
}

func (s *Server) listObjects(c *call) *fault {
	q := c.query
	text, f := c.xmlText()
	if f != nil {
		return f
	}
	limit, f := c.number("max-keys", usualKeys, 1, mostKeys)
	if f != nil {
		return f
	}
	out := objectList{
		Name: c.place.bucket, Prefix: text(q.Get("prefix")), Delimiter: text(q.Get("delimiter")),
		MaxKeys: limit, EncodingType: q.Get("encoding-type"),
	}
	p := page{disk: s.disk, bucket: c.place.bucket, prefix: q.Get("prefix"), delimiter: q.Get("delimiter"), limit: limit}
	withOwner := true
	version := q.Get("list-type")
	switch version {
	case "":
		out.Marker = new(string)
		*out.Marker = text(q.Get("marker"))
		p.begin(q.Get("marker"), true)
	case "2":
		withOwner = strings.EqualFold(q.Get("fetch-owner"), "true")
		out.StartAfter, out.ContinuationToken = text(q.Get("start-after")), text(q.Get("continuation-token"))
		p.begin(q.Get("start-after"), false)
		if token := q.Get("continuation-token"); token != "" {
			last, err := base64.URLEncoding.DecodeString(token)
			if err != nil {
				return invalid("The continuation token is not one that this service gave.")
			}
			p.begin(string(last), true)
		}
	default:
		return invalid("list-type is 2, or is left out.")
	}
	if err := p.read(); err != nil {
		return s.diskFault(err)
	}
	for _, o := range p.objects {
		x := xmlObject{
			Key: text(o.key), LastModified: xmlTime(o.Modified), ETag: quoted(o.ETag), Type: o.Type,
			Size: o.SizeBytes, StorageClass: "Standard",
		}
		if class := o.Header["X-Oss-Storage-Class"]; class != "" {
			x.StorageClass = class
		}
		if withOwner {
			x.Owner = &xmlOwner{s.owner, s.owner}
		}
		out.Contents = append(out.Contents, x)
	}
	for _, prefix := range p.prefixes {
		out.CommonPrefixes = append(out.CommonPrefixes, xmlPrefix{text(prefix)})
	}
	out.IsTruncated = p.truncated
	if version == "2" {
		n := len(p.objects) + len(p.prefixes)
		out.KeyCount = &n
		if p.truncated {
			out.NextContinuationToken = base64.URLEncoding.EncodeToString([]byte(p.last))
		}
	} else if p.truncated {
		out.NextMarker = text(p.last)
	}
	return c.answer(out)
}

// page is one page of a list.
type page struct {
	disk              *disk
	bucket            string
	prefix, delimiter string
	limit             int

	after, skip string

	objects   []listed
	prefixes  []string
	truncated bool
	last      string // key or common prefix on the page
}

type listed struct {
	key string
	meta
}

// begin sets behind which key the page begins. Where that was the last thing on
// the page before and is a common prefix, what it stands for is behind too.
func (p *page) begin(after string, continued bool) {
	p.after, p.skip = after, ""
	if continued && p.delimiter != "" && strings.HasSuffix(after, p.delimiter) && len(after) > len(p.prefix) {
		p.skip = after
	}
}

func (p *page) read() error {
	var failed error
	w := walk{disk: p.disk, bucket: p.bucket, prefix: p.prefix, after: p.after, skip: p.skip}
	w.visit = func(key string) bool {
		full := len(p.objects)+len(p.prefixes) == p.limit
		if common, ok := p.common(key); ok {
			if full {
				p.truncated = true
				return false
			}
			p.prefixes, p.last, w.skip = append(p.prefixes, common), common, common
			return true
		}
		f, m, err := p.disk.open(p.bucket, key)
		if errors.Is(err, fs.ErrNotExist) {
			return true // deleted meanwhile
		}
		if err != nil {
			failed = err
			return false
		}
		f.Close()
		if full {
			p.truncated = true
			return false
		}
		p.objects, p.last = append(p.objects, listed{key, m}), key
		return true
	}
	if err := w.run(); err != nil {
		return err
	}
	return failed
}

// common answers the common prefix that a key is shown by.
func (p *page) common(key string) (string, bool) {
	if p.delimiter == "" {
		return "", false
	}
	i := strings.Index(key[len(p.prefix):], p.delimiter)
	if i < 0 {
		return "", false
	}
	return key[:len(p.prefix)+i+len(p.delimiter)], true
}
