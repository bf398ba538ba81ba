package ossemu

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"
)

// Server is an emulator: OSS at the root, STS at /sts and /sts/. It needs no
// closing: what it answered "yes" to is on the disk.
type Server struct {
	authority *authority
	disk      *disk
	hosts     map[string]string
	region    string
	owner     string // the account's number
	log       *slog.Logger
}

var _ http.Handler = (*Server)(nil)

// New opens the folder and makes the buckets. It listens nowhere.
func New(o Options) (*Server, error) {
	if o.Dir == "" {
		return nil, errors.New("ossemu: no folder is given")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a, err := newAuthority(o, o.Log)
	if err != nil {
		return nil, err
	}
	d, err := openDisk(o.Dir, o.Now)
	if err != nil {
		return nil, fmt.Errorf("ossemu: open the folder: %w", err)
	}
	for _, b := range o.Buckets {
		if b == "sts" {
			return nil, errors.New(`ossemu: a bucket can't be called "sts": STS is at that path`)
		}
		if err := d.makeBucket(b); err != nil {
			return nil, fmt.Errorf("ossemu: %w", err)
		}
	}
	s := &Server{authority: a, disk: d, hosts: map[string]string{}, region: a.region, owner: a.role.account, log: o.Log}
	for host, bucket := range o.Hosts {
		if !validBucket(bucket) {
			return nil, fmt.Errorf("ossemu: the host %s stands for %q, which can be no bucket", host, bucket)
		}
		s.hosts[strings.ToLower(host)] = bucket
	}
	return s, nil
}

// call is one request to OSS and what is known of it so far.
type call struct {
	w     http.ResponseWriter
	r     *http.Request
	query url.Values
	place
	who    identity
	bucket bucketInfo
	id     string // of the request

	begun bool // the answer's head went out
}

// ServeHTTP answers STS's and OSS's requests.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{w: w, r: r, id: newID(12)}
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("emulator panicked", "request", c.id, "panic", p, "stack", string(debug.Stack()))
			// Too late for an error, the answer is shorter than it said, and net/http
			// breaks the connection.
			s.refuse(c, internal("The emulator has a bug: its log tells more."))
		}
	}()
	if s.isSTS(r) {
		s.authority.serveSTS(w, r)
		return
	}
	w.Header().Set("Server", "AliyunOSS")
	w.Header().Set("X-Oss-Request-Id", c.id)
	if f := s.serve(c); f != nil {
		s.refuse(c, f)
	}
}

func (s *Server) serve(c *call) *fault {
	// As it is signed, so it is read.
	query, err := parseParams(c.r.URL.RawQuery)
	if err != nil {
		return &fault{status: 400, code: "InvalidURI", message: "The query of the request can't be decoded: " + err.Error() + "."}
	}
	c.query = url.Values{}
	for _, p := range query {
		c.query.Add(p.name, p.value)
	}
	var f *fault
	if c.place, f = s.resolve(c.r); f != nil {
		return f
	}
	bucket, bucketErr := s.disk.bucket(c.place.bucket)
	c.bucket = bucket
	allowOrigin(c)
	if c.r.Method == http.MethodOptions {
		return preflight(c, bucketErr)
	}
	if c.who, f = s.authority.identify(c.r, c.place); f != nil {
		return f
	}
	op, f := findOperation(c)
	if f != nil {
		return f
	}
	if f := op.allowed(c); f != nil {
		return f
	}
	if op.do == nil {
		return &fault{status: 501, code: "NotImplemented", message: "The emulator has no " + op.name + ".", more: [][2]string{{"Operation", op.name}}}
	}
	if c.place.bucket != "" {
		if !validBucket(c.place.bucket) {
			return &fault{status: 400, code: "InvalidBucketName", message: "The specified bucket is not valid.", more: [][2]string{{"BucketName", c.place.bucket}}}
		}
		if errors.Is(bucketErr, fs.ErrNotExist) && op.name != "PutBucket" {
			return noSuchBucket(c.place.bucket)
		}
		if bucketErr != nil && !errors.Is(bucketErr, fs.ErrNotExist) {
			return s.diskFault(bucketErr)
		}
	}
	if c.key != "" {
		if f := checkKey(c.key); f != nil {
			return f
		}
	}
	return op.do(s, c)
}

// mostDrained is how much of a refused body is read, in bytes.
const mostDrained = 64 << 20

// refuse sends an error.
func (s *Server) refuse(c *call, f *fault) {
	if c.begun {
		return
	}
	s.log.Info("refused", "method", c.r.Method, "bucket", c.place.bucket, "key", c.key,
		"status", f.status, "code", f.code, "message", f.message, "request", c.id)
	// Who still sends his body would see a reset connection, not the reason.
	if c.r.Body != nil && c.r.Header.Get("Expect") == "" {
		io.CopyN(io.Discard, c.r.Body, mostDrained)
	}
	h := c.w.Header()
	for _, name := range []string{"Content-Length", "Content-Encoding", "Content-Range", "Content-Disposition", "Cache-Control"} {
		h.Del(name)
	}
	if f.ec != "" {
		h.Set("X-Oss-Ec", f.ec)
	}
	if f.status == http.StatusNotModified {
		c.begin(f.status)
		return
	}
	body := errorDocument(f, c.id, c.r.Host)
	if c.r.Method == http.MethodHead {
		h.Set("X-Oss-Err", base64Of(body))
		c.begin(f.status)
		return
	}
	c.sendXML(f.status, body)
}

// begin sends the answer's head.
func (c *call) begin(status int) {
	c.begun = true
	c.w.WriteHeader(status)
}

// resource names what a policy speaks of.
func resource(p place) string {
	switch {
	case p.bucket == "":
		return "acs:oss:*:*:*"
	case p.key == "":
		return "acs:oss:*:*:" + p.bucket
	}
	return "acs:oss:*:*:" + p.bucket + "/" + p.key
}

func newID(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b)
	return strings.ToUpper(hex.EncodeToString(b))
}

func validKey(key string) bool {
	return len(key) >= 1 && len(key) <= 1023 && utf8.ValidString(key) &&
		key[0] != '/' && key[0] != '\\'
}

func internal(message string) *fault {
	return &fault{status: 500, code: "InternalError", message: message}
}

func invalid(format string, args ...any) *fault {
	return &fault{status: 400, code: "InvalidArgument", message: fmt.Sprintf(format, args...)}
}

func noSuchKey(key string) *fault {
	return &fault{status: 404, code: "NoSuchKey", message: "The specified key does not exist.", ec: "0026-00000001", more: [][2]string{{"Key", key}}}
}

func noSuchBucket(name string) *fault {
	return &fault{status: 404, code: "NoSuchBucket", message: "The specified bucket does not exist.", ec: "0015-00000101", more: [][2]string{{"BucketName", name}}}
}

func exists(key string) *fault {
	return &fault{status: 409, code: "FileAlreadyExists", message: "The object you specified already exists and can not be overwritten.", ec: "0026-00000012", more: [][2]string{{"Key", key}}}
}

// diskFault is what a client is told of an error of the emulator's own disk.
func (s *Server) diskFault(err error) *fault {
	s.log.Error("emulator's disk", "error", err)
	switch {
	case full(err):
		return internal("The emulator's disk is full: make room where its folder is, then try again.")
	case tooLong(err):
		return internal("The emulator's folder lies so deep that the path of this object is too long for the file system.")
	}
	return internal("The emulator could not read or write its folder: its log tells more.")
}

// bodyFault is that of a body that could not be stored.
func (s *Server) bodyFault(err error) *fault {
	var src sourceError
	if !errors.As(err, &src) {
		return s.diskFault(err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &fault{status: 400, code: "RequestTimeout", message: "Your socket connection to the server was not read from or written to within the timeout period."}
	}
	return &fault{status: 400, code: "IncompleteBody", message: "The body ended before its length."}
}
