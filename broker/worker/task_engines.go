package worker

import (
	"context"
	"fmt"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// How it is noticed that no worker has an engine any more.
const (
	enginesEvery = time.Minute     // a worker says that often which it has
	engineGone   = 5 * time.Minute // after which it is taken not to have it any more
)

// watchEngines says which engine this process has, and fails the tasks of engines that
// no process has for as long as one that is away would be waited for: it was taken out
// of the configuration. This process has to have missed it all that time, round by
// round: after a time when nothing ran, nobody was seen either.
func (w *Worker) watchEngines(ctx context.Context) error {
	if w.Engine != nil {
		if err := w.Store.SeeEngine(ctx, w.Engine.Kind()); err != nil {
			return err
		}
	}
	missing, err := w.Store.UnseenEngines(ctx, engineGone)
	if err != nil {
		return err
	}
	patience := w.Patience + engineGone
	unseen := make(map[broker.EngineKind]int, len(missing))
	for _, kind := range missing {
		unseen[kind] = w.unseen[kind] + 1
	}
	w.unseen = unseen
	for kind, rounds := range unseen {
		if time.Duration(rounds)*enginesEvery <= patience {
			continue
		}
		cause := fmt.Sprintf("no running worker has the engine %s any more; ask the operator", kind)
		failed, err := w.Store.FailUnworked(ctx, kind, patience, cause, w.Now())
		if err != nil {
			return err
		}
		for _, id := range failed {
			w.Log.Error("a reconstruction failed: no running worker has its engine", "task", id, "engine", kind)
		}
	}
	return nil
}
