package reconstruct

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// NodeMode is how the images come to a NodeODM.
type NodeMode string

// The modes.
const (
	ModeZip    NodeMode = "zip"    // it fetches one zip from us
	ModeUpload NodeMode = "upload" // we send them one by one; ClusterODM knows no other way
)

// NodeODMOptions say where a NodeODM is and what it is told.
type NodeODMOptions struct {
	URL   string   // http or https, with or without a path
	Token string   // "": it asks for none
	Mode  NodeMode // "": zip

	// Options of the reconstruction, by the task's type (Native, Dense). The node
	// tells which it knows; they are checked before anything is sent.
	Options map[string][]NodeOption

	HTTP        *http.Client  // nil: one of its own; its redirects and timeouts are set here
	CallTimeout time.Duration // of a call that moves no images; 0: 30 s
	IdleTimeout time.Duration // without a byte moving in one that does; 0: 2 min
	Log         *slog.Logger
}

// NodeOption is one of a reconstruction: a string, a number or a bool.
type NodeOption struct {
	Name  string
	Value any
}

// NodeODM is an engine that speaks the protocol of NodeODM 2. It may be used by
// many at once.
type NodeODM struct {
	o    NodeODMOptions
	base *url.URL
	http *http.Client

	retries []time.Duration // pauses between the tries to send one image
}

var _ broker.Engine = (*NodeODM)(nil)

// How patient a NodeODM is.
const (
	nodeCallTimeout = 30 * time.Second
	nodeIdleTimeout = 2 * time.Minute
	nodeRedirects   = 5 // a ClusterODM may keep results in a bucket and send there
)

// NewNodeODM makes the engine. It does not reach out.
func NewNodeODM(o NodeODMOptions) (*NodeODM, error) {
	base, err := url.Parse(o.URL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, broker.Errorf(broker.CodeInvalid, "the URL of a NodeODM is http://host:3000 or https://host, without a user or a query")
	}
	o.Mode = cmp.Or(o.Mode, ModeZip)
	if o.Mode != ModeZip && o.Mode != ModeUpload {
		return nil, broker.Errorf(broker.CodeInvalid, "a NodeODM's mode is zip or upload, not %q", o.Mode)
	}
	o.CallTimeout, o.IdleTimeout = cmp.Or(o.CallTimeout, nodeCallTimeout), cmp.Or(o.IdleTimeout, nodeIdleTimeout)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	client := &http.Client{}
	if o.HTTP != nil {
		*client = *o.HTTP
	} else {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.DisableCompression = true // results are zips, and their length says whether they are whole
		transport.MaxIdleConnsPerHost = parallelUploads
		client.Transport = transport
	}
	client.Timeout = 0 // each call has its own
	client.CheckRedirect = followRead
	return &NodeODM{
		o: o, base: base, http: client,
		retries: []time.Duration{1e9, 2e9, 4e9, 8e9, 15e9, 30e9, 30e9, 30e9}, // a node that restarts keeps what it was sent
	}, nil
}

// followRead follows redirects of reads alone. Go would tell the next server where
// we come from, and there the token stands.
func followRead(next *http.Request, via []*http.Request) error {
	if via[0].Method != http.MethodGet || len(via) > nodeRedirects {
		return http.ErrUseLastResponse
	}
	next.Header.Del("Referer")
	return nil
}

// Kind is EngineNodeODM.
func (n *NodeODM) Kind() broker.EngineKind { return broker.EngineNodeODM }

// NodeInfo is what a node tells of itself.
type NodeInfo struct {
	Version       string `json:"version"` // of the protocol
	Queue         int    `json:"taskQueueCount"`
	MaxImages     *int   `json:"maxImages"` // nil: any number
	Engine        string `json:"engine"`
	EngineVersion string `json:"engineVersion"`
}

// Info asks the node who it is.
func (n *NodeODM) Info(ctx context.Context) (NodeInfo, error) {
	var info NodeInfo
	err := n.get(ctx, "/info", nil, &info)
	if err == nil && info.Version == "" {
		err = notANode(nil)
	}
	return info, err
}

// taskInfo is a task as the node tells it.
type taskInfo struct {
	UUID   string `json:"uuid"`
	Name   string `json:"name"`
	Status struct {
		Code    int    `json:"code"`
		Message string `json:"errorMessage"`
	} `json:"status"`
	Images   *int     `json:"imagesCount"` // -1 or none: not known yet
	Progress *float64 `json:"progress"`    // percent; old nodes don't tell
}

// A task's states.
const (
	nodeQueued    = 10
	nodeRunning   = 20 // also while it fetches and unpacks
	nodeFailed    = 30
	nodeCompleted = 40
	nodeCanceled  = 50
)

func (n *NodeODM) task(ctx context.Context, id string) (taskInfo, error) {
	var t taskInfo
	err := n.get(ctx, "/task/"+id+"/info", nil, &t)
	if err == nil && !strings.EqualFold(t.UUID, id) {
		err = notANode(fmt.Errorf("told of the task %q instead of %q", t.UUID, id))
	}
	return t, err
}

// Status asks the node. What its hook told is never taken for it.
func (n *NodeODM) Status(ctx context.Context, runID string) (broker.RunStatus, error) {
	t, err := n.task(ctx, runID)
	if err != nil {
		return broker.RunStatus{}, err
	}
	s := broker.RunStatus{Progress: -1}
	if t.Progress != nil {
		s.Progress = min(max(*t.Progress, 0), 100)
	}
	switch t.Status.Code {
	case nodeQueued:
		s.Phase = broker.RunQueued
	case nodeRunning:
		s.Phase = broker.RunRunning
	case nodeCompleted:
		s.Phase = broker.RunCompleted
	case nodeFailed:
		cause := n.cause(ctx, runID, t)
		if t.imageless() && n.o.Mode == ModeZip {
			return broker.RunStatus{}, n.unfetched(ctx, runID, cause)
		}
		s.Phase, s.Cause = broker.RunFailed, cause
	case nodeCanceled:
		s.Phase, s.Cause = broker.RunCanceled, "it was canceled at the engine"
	default:
		return broker.RunStatus{}, unavailable(nil, "the engine tells a state that is not known here, %d", t.Status.Code)
	}
	return s, nil
}

// imageless says that the task failed before it had its images.
func (t taskInfo) imageless() bool { return t.Images != nil && *t.Images <= 0 }

// unfetched makes of a zip that did not come to the node whole a run that it has no
// more: this program may have been killed while it was read, and the node does not try
// again by itself.
func (n *NodeODM) unfetched(ctx context.Context, runID, cause string) error {
	n.o.Log.Warn("the engine did not get the zip whole", "run", runID, "cause", cause)
	if err := n.remove(ctx, runID); err != nil {
		return err
	}
	return broker.Errorf(broker.CodeNotFound, "%s", cause)
}

// cause says why a task failed.
func (n *NodeODM) cause(ctx context.Context, runID string, t taskInfo) string {
	cause := n.told(t.Status.Message)
	switch {
	case cause == "":
		return n.lastWords(ctx, runID)
	case t.imageless() && n.o.Mode == ModeZip:
		return "the engine could not fetch and unpack the zip of the images, for which it has to reach this server at its public_url: " + cause
	}
	return cause
}

// lastWords stands in for the reason that a node does not always give.
func (n *NodeODM) lastWords(ctx context.Context, runID string) string {
	var lines []string
	if err := n.get(ctx, "/task/"+runID+"/output", url.Values{"line": {"-3"}}, &lines); err != nil {
		n.o.Log.Debug("no output of a failed run", "run", runID, "err", err)
	}
	if words := n.told(strings.Join(lines[max(len(lines)-3, 0):], " / ")); words != "" {
		return "the engine failed without saying why; its output ends: " + words
	}
	return "the engine failed without saying why"
}

// Cancel ends a run and has its files removed; also one that was not sent whole.
func (n *NodeODM) Cancel(ctx context.Context, runID string) error {
	for _, action := range []string{"cancel", "remove"} {
		err := n.act(ctx, action, runID)
		if broker.CodeOf(err) == broker.CodeNotFound {
			if n.o.Mode == ModeUpload {
				return n.discard(ctx, runID)
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// act cancels or removes. A form is what both NodeODM and ClusterODM read.
func (n *NodeODM) act(ctx context.Context, action, runID string) error {
	return n.form(ctx, "/task/"+action, url.Values{"uuid": {runID}})
}

// Describe says in a line who answers, after it looked whether the configured
// options are good there.
func (n *NodeODM) Describe(ctx context.Context) (string, error) {
	info, err := n.Info(ctx)
	if err != nil {
		return "", err
	}
	var bad []error
	for kind, options := range n.o.Options {
		if _, err := n.checked(ctx, options); err != nil {
			bad = append(bad, fmt.Errorf("options of %s: %w", kind, err))
		}
	}
	line := fmt.Sprintf("NodeODM %s", info.Version)
	if info.Engine != "" {
		line += fmt.Sprintf(" with %s %s", info.Engine, info.EngineVersion)
	}
	return fmt.Sprintf("%s, %d in its queue", line, info.Queue), errors.Join(bad...)
}
