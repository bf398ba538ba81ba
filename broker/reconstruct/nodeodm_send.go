package reconstruct

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/uploadbroker/uploadbroker/broker"
)

// discarded is the name of a task that is to be removed: what an earlier try left.
const discarded = "uploadbroker: discarded"

// Send hands a run over under its own name, so that the node itself tells whether it
// has it already.
func (n *NodeODM) Send(ctx context.Context, run broker.Run) error {
	switch known, err := n.known(ctx, run); {
	case err != nil:
		return err
	case known:
		return nil
	}
	options, err := n.checked(ctx, n.o.Options[run.Type])
	if err != nil {
		return err
	}
	info, err := n.Info(ctx)
	if err != nil {
		return err
	}
	if info.MaxImages != nil && *info.MaxImages > 0 && run.Task.Images > *info.MaxImages {
		return broker.Errorf(broker.CodeTooLarge, "the engine takes %d images at most, and there are %d", *info.MaxImages, run.Task.Images)
	}
	text, err := json.Marshal(options)
	if err != nil {
		return err
	}
	fields := [][2]string{
		{"name", run.Project.Name + " (" + run.ID + ")"}, // of the task, for whoever looks at the node
		{"options", string(text)},
	}
	if run.HookURL != "" {
		fields = append(fields, [2]string{"webhook", run.HookURL})
	}
	n.o.Log.Info("sending a run to the engine", "task", run.ID, "run", run.RunID, "mode", n.o.Mode, "images", run.Task.Images, "queue", info.Queue)
	if n.o.Mode == ModeUpload {
		return n.sendImages(ctx, run, fields)
	}
	return n.sendZip(ctx, run, fields)
}

// known says whether the node has the run. What it has of another number of images
// than were sent is a try that broke off: it is removed.
func (n *NodeODM) known(ctx context.Context, run broker.Run) (bool, error) {
	t, err := n.task(ctx, run.RunID)
	if broker.CodeOf(err) == broker.CodeNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if t.Name != discarded && (n.o.Mode != ModeUpload || t.counts(run.Task.Images)) {
		return true, nil
	}
	return false, n.remove(ctx, run.RunID)
}

// counts says whether the task may have that many images; it may not know yet.
func (t taskInfo) counts(images int) bool {
	return t.Images == nil || *t.Images < 0 || *t.Images == images
}

// remove takes a task away; one that is gone already is no error.
func (n *NodeODM) remove(ctx context.Context, runID string) error {
	err := n.act(ctx, "remove", runID)
	if broker.CodeOf(err) == broker.CodeNotFound {
		return nil
	}
	return err
}

// sendZip tells the node where the zip is. It answers before it fetches, and a fetch
// that fails fails the task.
func (n *NodeODM) sendZip(ctx context.Context, run broker.Run, fields [][2]string) error {
	if run.ZipURL == "" {
		return broker.Errorf(broker.CodeInvalid, "there is no address at which an engine could fetch the zip; set public_url")
	}
	err := n.create(ctx, "/task/new", run.RunID, append(fields, [2]string{"zipurl", run.ZipURL}))
	if broker.CodeOf(err) == broker.CodeConflict {
		return n.taken(ctx, run)
	}
	return err
}

// create begins a task or an upload under a name.
func (n *NodeODM) create(ctx context.Context, path, runID string, fields [][2]string) error {
	var made struct {
		UUID string `json:"uuid"`
	}
	if err := n.multipart(ctx, path, runID, fields, &made); err != nil {
		return err
	}
	if made.UUID == "" {
		return notANode(nil)
	}
	if !strings.EqualFold(made.UUID, runID) {
		// A node older than 1.3 chooses by itself. What it began would be found by nobody.
		if err := n.remove(ctx, made.UUID); err != nil {
			n.o.Log.Warn("a task that the engine named by itself is left there", "uuid", made.UUID, "err", err)
		}
		return broker.Errorf(broker.CodeNotSupported, "the engine is too old: it does not take the run's name (set-uuid)")
	}
	return nil
}

// taken is what a refused name means: mostly that the node has the run since a try
// whose answer was lost.
func (n *NodeODM) taken(ctx context.Context, run broker.Run) error {
	known, err := n.known(ctx, run)
	if err != nil {
		return err
	}
	if !known {
		return unavailable(nil, "the engine does not take the run's name and does not know it either")
	}
	return nil
}
