package client

import (
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Session is a short-lived identity at Aliyun OSS that may write below the
// project's prefix and do nothing else. Its holder signs his requests with it
// himself (Sign). One session serves all images of a project in that bucket; the
// Grant that it came with says when it ends.
//
// ID, Secret and Token are secrets until then. Printing or logging a Session
// shows none of them; encoding it as JSON does.
type Session struct {
	ID       string `json:"id"`       // access key id
	Secret   string `json:"secret"`   // access key secret
	Token    string `json:"token"`    // goes with each request
	Endpoint string `json:"endpoint"` // scheme and host, without the bucket
	Bucket   string `json:"bucket"`   // as its cloud knows it
	Region   string `json:"region"`   // as signatures name it: cn-hangzhou
	Key      string `json:"key"`      // of the object that the grant is for
	// PathStyle says that the bucket stands in the path, not in the host name.
	PathStyle bool `json:"path_style"`
}

// String names the place and no secret.
func (s Session) String() string {
	return "session for " + s.Bucket + "/" + s.Key + " at " + s.Endpoint
}

// GoString is String, for %#v.
func (s Session) GoString() string { return s.String() }

// LogValue is String, for package slog.
func (s Session) LogValue() slog.Value { return slog.StringValue(s.String()) }

// usable refuses a session that can't be signed with, or whose address is not
// that of its object.
func (s *Session) usable(g *Grant) error {
	if s == nil {
		return errors.New("the server gives a grant of kind session without a session")
	}
	for name, v := range map[string]string{"id": s.ID, "secret": s.Secret, "bucket": s.Bucket, "region": s.Region, "key": s.Key} {
		if v == "" {
			return errors.New("the server gives a session without its " + name)
		}
	}
	for name, v := range map[string]string{"id": s.ID, "token": s.Token, "region": s.Region} {
		if strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return errors.New("the server gives a session whose " + name + " can't stand in a header")
		}
	}
	if g.Method != "" && g.Method != "PUT" {
		return errors.New("the server gives a session for another method than PUT")
	}
	if u, err := url.Parse(g.URL); err != nil || u.RawQuery != "" || !strings.HasSuffix(u.Path, "/"+s.Key) {
		return errors.New("the server gives a session whose address is not that of its key")
	}
	return nil
}

// hide takes the session's secrets out of a foreign text.
func (s *Session) hide(text string) string {
	if s == nil {
		return text
	}
	for _, secret := range []string{s.Secret, s.Token, s.ID} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	return text
}

// refusals remembers which sessions a bucket has refused, so that the files that
// wait with the same one are not sent in vain, each for itself.
type refusals struct {
	mu sync.Mutex
	at map[string]time.Time // by id: when it was first refused
}

func (f *refusals) note(s *Session) {
	if s == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.at[s.ID]; known {
		return
	}
	if f.at == nil {
		f.at = map[string]time.Time{}
	}
	f.at[s.ID] = time.Now()
}

// since reports whether the session was refused after it was given. One that the
// server gives again all the same is tried again.
func (f *refusals) since(s *Session, given time.Time) bool {
	if s == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	at, known := f.at[s.ID]
	return known && !given.After(at)
}
