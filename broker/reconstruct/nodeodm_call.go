package reconstruct

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/uploadbroker/uploadbroker/broker"
)

// maxAnswer is the most of an answer that is read: a list of options has about
// 60 kB, and nothing else is as long.
const maxAnswer = 4 << 20

// request is a call to a node.
type request struct {
	method  string
	path    string
	query   url.Values
	kind    string // Content-Type
	setUUID string
	body    io.Reader
	length  int64 // of body
}

func (n *NodeODM) get(ctx context.Context, path string, query url.Values, answer any) error {
	return n.call(ctx, request{method: http.MethodGet, path: path, query: query}, answer)
}

// form posts what an HTML form would; the answer says only whether it went well.
func (n *NodeODM) form(ctx context.Context, path string, fields url.Values) error {
	text := fields.Encode()
	return n.call(ctx, request{
		method: http.MethodPost, path: path, kind: "application/x-www-form-urlencoded", body: strings.NewReader(text), length: int64(len(text)),
	}, nil)
}

// multipart posts fields as /task/new takes them, and nothing else.
func (n *NodeODM) multipart(ctx context.Context, path, setUUID string, fields [][2]string, answer any) error {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, f := range fields {
		if err := w.WriteField(f[0], f[1]); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return n.call(ctx, request{
		method: http.MethodPost, path: path, kind: w.FormDataContentType(), setUUID: setUUID, body: &b, length: int64(b.Len()),
	}, answer)
}

// post asks for what an address alone says.
func (n *NodeODM) post(ctx context.Context, path string) error {
	return n.call(ctx, request{method: http.MethodPost, path: path}, nil)
}

// call asks and reads the answer, within the time of a call.
func (n *NodeODM) call(ctx context.Context, r request, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, n.o.CallTimeout)
	defer cancel()
	return n.ask(ctx, r, answer)
}

// ask is call without a time of its own.
func (n *NodeODM) ask(ctx context.Context, r request, answer any) error {
	resp, err := n.send(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return lost(ctx, err)
	}
	if len(text) > maxAnswer {
		return notANode(fmt.Errorf("an answer of more than %d bytes to %s", maxAnswer, r.path))
	}
	return n.understand(text, answer)
}

// send gives an answer of status 200, whatever it says.
func (n *NodeODM) send(ctx context.Context, r request) (*http.Response, error) {
	u := n.base.JoinPath(r.path)
	query := url.Values{}
	for name, values := range r.query {
		query[name] = values
	}
	if n.o.Token != "" {
		query.Set("token", n.o.Token) // the only place where NodeODM looks
	}
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), r.body)
	if err != nil {
		return nil, unavailable(errors.New("no request could be made"), "the engine can't be asked")
	}
	if r.body != nil {
		req.ContentLength, req.GetBody = r.length, nil
		req.Header.Set("Content-Type", r.kind)
	}
	if r.setUUID != "" {
		req.Header.Set("set-uuid", r.setUUID)
	}
	resp, err := n.http.Do(req)
	if err != nil {
		return nil, lost(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, badStatus(resp.StatusCode)
	}
	return resp, nil
}

// understand reads an answer. NodeODM says no with status 200 and a field error.
func (n *NodeODM) understand(text []byte, answer any) error {
	var no struct {
		Error   any  `json:"error"`
		NoRetry bool `json:"noRetry"`
	}
	if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && trimmed[0] == '{' {
		if err := json.Unmarshal(text, &no); err != nil {
			return notANode(err)
		}
		if no.Error != nil {
			words, ok := no.Error.(string)
			if !ok {
				inner, err := json.Marshal(no.Error)
				words = string(inner)
				if err != nil {
					words = "an error"
				}
			}
			return n.refused(words, no.NoRetry)
		}
	}
	if answer == nil {
		answer = &struct{}{}
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return notANode(err)
	}
	return nil
}

// What nodes say, in lower case. There is nothing but words to go by: neither a code
// nor a status tells these apart (NodeODM's taskNew.js, TaskManager.js,
// TokenAuthBase.js; ClusterODM's proxy.js).
var (
	saysBadToken = []string{"invalid authentication token"}
	saysUnknown  = []string{"not found", "invalid route for taskid", "invalid taskid", "no longer exists"}
	saysTaken    = []string{"invalid set-uuid"}
	saysNoURL    = []string{"upload via url"}
	saysBusy     = []string{"slow down", "maximum number of concurrent tasks"}
	saysAway     = []string{
		"no nodes", "proxy redirect error", "exception", "unexpected end", "aborted", "timeout", "timed out", "asset not ready", "socket hang up",
	}
	systemError = regexp.MustCompile(`^E[A-Z0-9]{2,}: `) // Node's own, such as ENOSPC: no space left on device
)

func says(words string, any []string) bool {
	for _, w := range any {
		if strings.Contains(words, w) {
			return true
		}
	}
	return false
}

// refused gives a node's no its code.
func (n *NodeODM) refused(words string, final bool) error {
	shown, low := n.told(words), strings.ToLower(words)
	switch {
	case says(low, saysBadToken):
		return errBadToken()
	case says(low, saysTaken):
		return broker.Errorf(broker.CodeConflict, "the engine does not take the run's name")
	case says(low, saysNoURL):
		return broker.Errorf(broker.CodeNotSupported, "this engine fetches no zip; set reconstruction.mode to upload")
	case says(low, saysBusy):
		return broker.Errorf(broker.CodeTooManyRequests, "the engine takes no more for now: %s", shown)
	case !final && systemError.MatchString(words), !final && says(low, saysAway):
		return unavailable(nil, "the engine has trouble: %s", shown)
	case says(low, saysUnknown):
		return broker.Errorf(broker.CodeNotFound, "the engine does not know the run")
	}
	return broker.Errorf(broker.CodeInvalid, "the engine refuses: %s", shown)
}

func errBadToken() error {
	return broker.Errorf(broker.CodeDenied, "the engine refuses this server's token; ask the operator")
}

// badStatus is an answer that no NodeODM gives: something else speaks, mostly a
// proxy before it.
func badStatus(status int) error {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden: // ClusterODM does
		return errBadToken()
	case status == http.StatusRequestEntityTooLarge:
		return broker.Errorf(broker.CodeTooLarge, "the engine, or a proxy before it, refuses an image for its size (413); raise its limit")
	case status == http.StatusTooManyRequests:
		return broker.Errorf(broker.CodeTooManyRequests, "the engine, or a proxy before it, takes no more for now (429)")
	case status >= 300 && status < 400:
		return broker.Errorf(broker.CodeNotSupported, "the engine's address leads elsewhere (%d); set reconstruction.url to where", status)
	}
	return unavailable(nil, "the engine, or a proxy before it, answered %d %s", status, http.StatusText(status))
}

// lost is what became of a request without an answer. Go's error names the URL, and
// there the token stands.
func lost(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		if errors.Is(cause, errIdle) {
			return unavailable(cause, "the engine moved no byte for too long")
		}
		if errors.Is(cause, context.DeadlineExceeded) {
			return unavailable(cause, "the engine took too long to answer")
		}
		return unavailable(cause, "asking the engine was broken off")
	}
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err
	}
	return unavailable(err, "the engine does not answer")
}

func notANode(cause error) error {
	return unavailable(cause, "what answers at the engine's address is no NodeODM")
}

// unavailable is a failure that may pass; cause is for the log.
func unavailable(cause error, format string, args ...any) error {
	e := broker.Errorf(broker.CodeUnavailable, format, args...)
	e.Err = cause
	return e
}

// links are cut out of what a node says: ours carry secrets, and it repeats them.
var links = regexp.MustCompile(`(?i)\b[a-z][a-z0-9+.-]*://[^\s"'<>]+|\btoken=[^\s"'<>&]+`)

const maxTold = 300 // characters

// told makes a node's words fit to be shown.
func (n *NodeODM) told(words string) string {
	words = links.ReplaceAllString(words, "(a link)")
	if n.o.Token != "" {
		words = strings.ReplaceAll(words, n.o.Token, "(the token)")
	}
	words = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(words, "?"), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsGraphic(r)
	}), " ")
	if all := []rune(words); len(all) > maxTold {
		words = string(all[:maxTold]) + "…"
	}
	return words
}

// transient says that trying again may help.
func transient(err error) bool {
	code := broker.CodeOf(err)
	return code == broker.CodeUnavailable || code == broker.CodeTooManyRequests
}

// pause waits, unless ctx ends before.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return lost(ctx, ctx.Err())
	case <-t.C:
		return nil
	}
}
