package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uploadbroker/uploadbroker/api/client"
)

// begun is what became of --reconstruct.
type begun struct {
	asked bool
	task  client.Task
	err   error
	left  int // files that are not at the server, for which nothing was begun
}

// lookForAll is how often it is asked whether every file has been sent.
const lookForAll = 200 * time.Millisecond

// reconstruction has a reconstruction recorded as soon as every file has been sent,
// so that it needs this program no more while verdicts are waited for: the server
// begins it when all are judged. Were it recorded before, it could begin between two
// batches. The function that it returns is called with the report, and tells.
func (c *uploadCmd) reconstruction(ctx context.Context, cl *client.Client, pid string, prog *client.Progress, all bool) func(client.Report) begun {
	if !c.Reconstruct {
		return func(client.Report) begun { return begun{} }
	}
	record := func(ctx context.Context) begun {
		t, err := cl.StartTask(ctx, pid, client.TaskOptions{Settled: true})
		return begun{asked: true, task: t, err: err}
	}
	watching, stop := context.WithCancel(ctx)
	result := make(chan begun, 1)
	go func() {
		defer close(result)
		tick := time.NewTicker(lookForAll)
		defer tick.Stop()
		for all {
			select {
			case <-watching.Done():
				return
			case <-tick.C:
			}
			if s := prog.Status(); s.Files > 0 && s.Hashed == s.Files && s.Sending == 0 && s.Sent+s.Spared == s.Files && s.Failed == 0 {
				result <- record(ctx)
				return
			}
		}
	}()
	return func(r client.Report) begun {
		stop()
		if done, ok := <-result; ok {
			return done
		}
		out := begun{asked: true}
		for _, f := range r.Files {
			if f.Err != nil && !errors.Is(f.Err, client.ErrUnjudged) {
				out.left++
			}
		}
		if out.left > 0 || ctx.Err() != nil {
			return out
		}
		return record(ctx)
	}
}

// tell says what became of --reconstruct, and how the command ends.
func (c *uploadCmd) tell(io stdio, b begun, verdict error) error {
	switch {
	case !b.asked:
		return verdict
	case b.err != nil:
		var e *exitError
		errors.As(c.explain(b.err), &e)
		fmt.Fprintln(io.Err, "uploadbroker: no reconstruction was begun:", e.msg)
		if verdict == nil {
			return &exitError{code: exitNotReady}
		}
	case b.task.ID == "":
		why := "the upload was stopped"
		if b.left > 0 {
			why = areFiles(b.left) + " not there"
		}
		fmt.Fprintf(io.Err, "uploadbroker: no reconstruction was begun, since %s. The same command again goes on, and then begins it.\n", why)
		if verdict == nil {
			return &exitError{code: exitNotReady}
		}
	default:
		fmt.Fprintf(io.Out, "Reconstruction %s begins when all images are judged. To follow it: uploadbroker tasks watch %s\n", clean(b.task.ID), clean(b.task.ID))
	}
	return verdict
}

func areFiles(n int) string {
	if n == 1 {
		return "1 file is"
	}
	return files(n, "file") + " are"
}
