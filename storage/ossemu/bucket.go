package ossemu

import (
	"encoding/xml"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

func (s *Server) listBuckets(c *call) *fault {
	names, err := s.disk.buckets()
	if err != nil {
		return s.diskFault(err)
	}
	type bucket struct {
		Name, CreationDate, Location, Region, StorageClass, ExtranetEndpoint, IntranetEndpoint string
	}
	limit, f := c.number("max-keys", usualKeys, 1, mostKeys)
	if f != nil {
		return f
	}
	prefix, marker := c.query.Get("prefix"), c.query.Get("marker")
	out := struct {
		XMLName     xml.Name `xml:"ListAllMyBucketsResult"`
		Prefix      string
		Marker      string
		MaxKeys     int
		IsTruncated bool
		NextMarker  string `xml:",omitempty"`
		Owner       xmlOwner
		Buckets     struct{ Bucket []bucket }
	}{Prefix: prefix, Marker: marker, MaxKeys: limit, Owner: xmlOwner{s.owner, s.owner}}
	for _, name := range names {
		if name <= marker || !strings.HasPrefix(name, prefix) {
			continue
		}
		if n := len(out.Buckets.Bucket); n == limit {
			out.IsTruncated, out.NextMarker = true, out.Buckets.Bucket[n-1].Name
			break
		}
		info, err := s.disk.bucket(name)
		if err != nil {
			continue // removed meanwhile
		}
		out.Buckets.Bucket = append(out.Buckets.Bucket, bucket{
			Name: name, CreationDate: xmlTime(info.Created), Location: s.location(), Region: s.region,
			StorageClass: "Standard", ExtranetEndpoint: c.r.Host, IntranetEndpoint: c.r.Host,
		})
	}
	return c.answer(out)
}

func (s *Server) location() string { return "oss-" + s.region }

func (s *Server) getBucketInfo(c *call) *fault {
	type bucket struct {
		AccessMonitor, CreationDate, ExtranetEndpoint, IntranetEndpoint, Location, Name, StorageClass, DataRedundancyType string
		Owner                                                                                                             xmlOwner
		AccessControlList                                                                                                 struct{ Grant string }
		TransferAcceleration, CrossRegionReplication                                                                      string
	}
	out := struct {
		XMLName xml.Name `xml:"BucketInfo"`
		Bucket  bucket
	}{Bucket: bucket{
		AccessMonitor: "Disabled", CreationDate: xmlTime(c.bucket.Created), ExtranetEndpoint: c.r.Host, IntranetEndpoint: c.r.Host,
		Location: s.location(), Name: c.place.bucket, StorageClass: "Standard", DataRedundancyType: "LRS",
		Owner: xmlOwner{s.owner, s.owner}, TransferAcceleration: "Disabled", CrossRegionReplication: "Disabled",
	}}
	out.Bucket.AccessControlList.Grant = "private"
	return c.answer(out)
}

func (s *Server) getBucketLocation(c *call) *fault {
	return c.answer(struct {
		XMLName xml.Name `xml:"LocationConstraint"`
		Text    string   `xml:",chardata"`
	}{Text: s.location()})
}

func (s *Server) headBucket(c *call) *fault { return c.empty(http.StatusOK) }

func (s *Server) putBucket(c *call) *fault {
	if err := s.disk.makeBucket(c.place.bucket); err != nil {
		return s.diskFault(err)
	}
	c.w.Header().Set("Location", "/"+c.place.bucket)
	return c.empty(http.StatusOK)
}

func (s *Server) deleteBucket(c *call) *fault {
	uploads, err := s.disk.uploads(c.place.bucket)
	if err != nil {
		return s.diskFault(err)
	}
	err = os.Remove(filepath.Join(s.disk.dir, c.place.bucket))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return noSuchBucket(c.place.bucket)
	case err != nil || len(uploads) > 0:
		return &fault{status: 409, code: "BucketNotEmpty", message: "The bucket you tried to delete is not empty.", more: [][2]string{{"BucketName", c.place.bucket}}}
	}
	os.Remove(s.disk.own("buckets", c.place.bucket+".json"))
	return c.empty(http.StatusNoContent)
}
