package ossemu

import (
	"net"
	"net/http"
	"net/url"
	"strings"
)

// resolve tells which bucket and key a request is about. The bucket is, in this
// order: what stands before a known end of the host's name, what Options.Hosts
// says of the host, the first segment of the path.
//
// The path is the one on the request line, decoded once: %2F is a slash, and
// "//" and ".." stay what they are.
func (s *Server) resolve(r *http.Request) (place, *fault) {
	path, err := url.PathUnescape(r.URL.EscapedPath())
	if err != nil {
		return place{}, &fault{status: 400, code: "InvalidURI", message: "The path of the request can't be decoded: a percent sign in a key is written %25."}
	}
	path = strings.TrimPrefix(path, "/")
	if bucket := s.bucketOfHost(r); bucket != "" {
		return place{bucket: bucket, key: path}, nil
	}
	bucket, key, _ := strings.Cut(path, "/")
	return place{bucket: bucket, key: key}, nil
}

// bucketOfHost answers "" where the host names no bucket.
func (s *Server) bucketOfHost(r *http.Request) string {
	host := strings.ToLower(r.Host)
	if bucket := s.hosts[host]; bucket != "" && strings.Contains(host, ":") {
		return bucket // a host with its port is the more exact name
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	bucket, base, found := strings.Cut(host, ".")
	if found && net.ParseIP(host) == nil {
		// ali-oss names the cloud's host whatever address it connects to.
		if base == "localhost" || strings.HasSuffix(base, ".aliyuncs.com") || base == localHost(r) {
			return bucket
		}
	}
	return s.hosts[host]
}

// localHost is the address on which the request came in, without the port.
func localHost(r *http.Request) string {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return ""
	}
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		return ""
	}
	return host
}

// isSTS tells whether a request is for the other service. A host that names a
// bucket has no room for it: there, sts is a key.
func (s *Server) isSTS(r *http.Request) bool {
	return (r.URL.Path == "/sts" || r.URL.Path == "/sts/") && s.bucketOfHost(r) == ""
}

// checkKey answers the fault of a name that no object can have.
func checkKey(key string) *fault {
	if validKey(key) {
		return nil
	}
	return &fault{status: 400, code: "InvalidObjectName", message: "The specified object is not valid: names are 1 to 1023 bytes of UTF-8 that do not begin with / or \\."}
}
