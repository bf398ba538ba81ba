package clienttest

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"time"
)

// put is the bucket: it takes exactly what a grant allows.
func (s *Server) put(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	first, rate := s.Bucket, s.PutRate
	g, known := s.grants[r.URL.Query().Get("X-Amz-Signature")]
	s.mu.Unlock()
	if first != nil && first(w, r) {
		return
	}
	switch {
	case r.Header.Get("Authorization") != "":
		// The key has no business here.
		Refuse(w, http.StatusBadRequest, "InvalidArgument", "Only one auth mechanism allowed")
		return
	case !known || r.URL.Path != "/bucket/"+g.im.ProjectID+"/"+r.PathValue("file"):
		Refuse(w, http.StatusForbidden, "SignatureDoesNotMatch", "The request signature does not match")
		return
	case s.now().After(g.ends):
		Refuse(w, http.StatusForbidden, "AccessDenied", "Request has expired")
		return
	}
	for k, v := range g.headers {
		got := r.Header.Get(k)
		if k == "Content-Length" {
			got = fmt.Sprint(r.ContentLength)
		}
		if got != v {
			Refuse(w, http.StatusForbidden, "SignatureDoesNotMatch", k+" is "+got)
			return
		}
	}
	body, err := s.read(r.Body, rate)
	if err != nil {
		Refuse(w, http.StatusBadRequest, "IncompleteBody", "You did not provide all the bytes")
		return
	}
	if sum := sha1.Sum(body); base64.StdEncoding.EncodeToString(sum[:]) != g.headers["X-Amz-Checksum-Sha1"] {
		Refuse(w, http.StatusBadRequest, "BadDigest", "The sha1 you specified did not match the calculated checksum.")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.puts = append(s.puts, g.im.Name)
	if g.attempt == g.im.Attempt {
		g.im.body, g.im.arrived = body, true
	}
	w.Header().Set("ETag", `"stand-in"`)
}

// read takes the body at the rate of a slow line and counts it.
func (s *Server) read(body io.Reader, rate int) ([]byte, error) {
	var out bytes.Buffer
	buf := make([]byte, 32<<10)
	if rate > 0 {
		buf = buf[:max(min(rate/20, len(buf)), 1)]
	}
	for {
		n, err := body.Read(buf)
		out.Write(buf[:n])
		s.mu.Lock()
		s.putBytes += int64(n)
		s.mu.Unlock()
		if err == io.EOF {
			return out.Bytes(), nil
		}
		if err != nil {
			return nil, err
		}
		if rate > 0 {
			time.Sleep(time.Duration(n) * time.Second / time.Duration(rate))
		}
	}
}

// Refuse answers as S3 does.
func Refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>%s</Message></Error>`, code, message)
}

// Cut drops the connection of a request without an answer, after so many bytes of
// its body.
func Cut(w http.ResponseWriter, r *http.Request, after int64) {
	_, _ = io.CopyN(io.Discard, r.Body, after)
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		conn.Close()
	}
}

// Hang takes a request's body and gives no answer until the client goes away.
func Hang(r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // net/http watches the connection only after the body
	<-r.Context().Done()
}
