package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres/sqlc"
)

var _ broker.StoryStore = (*Store)(nil)

// AnyProject implements broker.StoryStore.
func (s *Store) AnyProject(ctx context.Context, id string) (broker.Project, error) {
	r, err := s.q.AnyProject(ctx, id)
	return toProject(r), wrap(err)
}

// ProjectOfStory implements broker.StoryStore.
func (s *Store) ProjectOfStory(ctx context.Context, imageID string) (string, error) {
	id, err := s.ProjectOfImage(ctx, imageID)
	if broker.CodeOf(err) != broker.CodeNotFound {
		return id, err
	}
	id, err = s.q.ProjectOfAudit(ctx, imageID)
	return id, wrap(err)
}

// Audit implements broker.StoryStore.
func (s *Store) Audit(ctx context.Context, projectID string, q broker.AuditQuery) ([]broker.AuditLine, error) {
	var rows []sqlc.AuditOfProjectRow
	var err error
	if q.ImageID == "" {
		rows, err = s.q.AuditOfProject(ctx, sqlc.AuditOfProjectParams{
			ProjectID: projectID, Before: q.Before, Action: q.Action, Since: orNull(q.Since), MaxRows: int32(q.Limit),
		})
	} else {
		var ofImage []sqlc.AuditOfProjectImageRow
		ofImage, err = s.q.AuditOfProjectImage(ctx, sqlc.AuditOfProjectImageParams{
			ImageID: q.ImageID, ProjectID: projectID, Before: q.Before, Action: q.Action, Since: orNull(q.Since), MaxRows: int32(q.Limit),
		})
		for _, r := range ofImage {
			rows = append(rows, sqlc.AuditOfProjectRow(r))
		}
	}
	lines := make([]broker.AuditLine, len(rows))
	for i, r := range rows {
		lines[i] = broker.AuditLine{
			ID: r.ID, At: r.At, Action: r.Action, ImageID: r.ImageID, ImageName: r.ImageName, Detail: r.Detail,
			Who: actor(r.OwnerID, r.Email, r.KeyID, r.KeyHint, r.KeyName, r.Detail),
		}
	}
	return lines, wrap(err)
}

// actor tells who acted. What names neither owner nor key was the program, an operator
// by a command, or anybody who sent a file to a tag: the last two have no name, but the
// detail says so.
func actor(ownerID, email, keyID, hint, name string, detail []byte) broker.Actor {
	who := broker.Actor{Kind: broker.ActorOwner, OwnerID: ownerID, Email: email, KeyID: keyID, KeyHint: hint, KeyName: name}
	if ownerID == "" && keyID == "" {
		who.Kind = broker.ActorProgram
	}
	var d struct{ Operator, Anonymous bool }
	switch {
	case json.Unmarshal(detail, &d) != nil:
	case d.Operator:
		who.Kind = broker.ActorOperator
	case d.Anonymous && who.Kind == broker.ActorProgram:
		who.Kind = broker.ActorAnybody
	}
	return who
}

// LastLooks implements broker.StoryStore.
func (s *Store) LastLooks(ctx context.Context) (map[string]broker.BucketLook, error) {
	rows, err := s.q.LastLooks(ctx)
	looks := make(map[string]broker.BucketLook, len(rows))
	for _, r := range rows {
		looks[r.Bucket] = broker.BucketLook{At: r.LookedAt, Fault: broker.PlainCause(r.Fault)}
	}
	return looks, wrap(err)
}

// Trace implements broker.StoryStore. All is read at one moment.
func (s *Store) Trace(ctx context.Context, imageID string) (broker.Trace, error) {
	var t broker.Trace
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		t = broker.Trace{}
		return tracing{q: s.q.WithTx(tx), id: imageID, t: &t}.read(ctx)
	})
	return t, wrap(err)
}

// tracing reads the parts of an image's story.
type tracing struct {
	q  *sqlc.Queries
	id string
	t  *broker.Trace
}

func (r tracing) read(ctx context.Context) error {
	row, err := r.q.TracedImage(ctx, r.id)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
	case err != nil:
		return err
	default:
		img, err := toImage(row)
		if err != nil {
			return err
		}
		r.t.Image = &img
	}
	// What happened at the same moment is told in this order.
	for _, part := range []func(context.Context) error{r.audit, r.grants, r.hints, r.failures, r.verdicts, r.attempts, r.watching} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	slices.SortStableFunc(r.t.Story, func(a, b broker.Happening) int { return a.At.Compare(b.At) })
	return nil
}

// add adds the happenings of one kind, which come newest first.
func (r tracing) add(list []broker.Happening) {
	r.t.Cut = r.t.Cut || len(list) == maxHistory
	slices.Reverse(list)
	r.t.Story = append(r.t.Story, list...)
}

func (r tracing) audit(ctx context.Context) error {
	rows, err := r.q.AuditOfTrace(ctx, sqlc.AuditOfTraceParams{ImageID: r.id, MaxRows: maxHistory})
	list := make([]broker.Happening, len(rows))
	for i, a := range rows {
		who := actor(a.OwnerID, a.Email, a.KeyID, a.KeyHint, a.KeyName, a.Detail)
		list[i] = broker.Happening{At: a.At, What: a.Action, Who: &who, Detail: a.Detail}
	}
	r.add(list)
	return err
}

func (r tracing) grants(ctx context.Context) error {
	rows, err := r.q.GrantsOfImage(ctx, sqlc.GrantsOfImageParams{ImageID: r.id, MaxRows: maxHistory})
	list := make([]broker.Happening, len(rows))
	for i, g := range rows {
		who := actor(g.OwnerID, g.Email, g.KeyID, g.KeyHint, g.KeyName, nil)
		list[i] = broker.Happening{
			At: g.IssuedAt, What: broker.HappenedGrant, Who: &who, Attempt: int(g.Attempt), Bucket: g.Bucket,
			Kind: broker.GrantKind(g.Kind), ExpiresAt: &g.ExpiresAt,
		}
	}
	r.add(list)
	return err
}

func (r tracing) hints(ctx context.Context) error {
	rows, err := r.q.HintsOfImage(ctx, sqlc.HintsOfImageParams{ImageID: r.id, MaxRows: maxHistory})
	list := make([]broker.Happening, len(rows))
	for i, h := range rows {
		list[i] = broker.Happening{At: h.HintedAt, What: broker.HappenedHint, Bucket: h.Bucket}
	}
	slices.Reverse(list)
	r.add(list)
	return err
}

// failures tells what River remembers of checks and fetches that could not run,
// and since when those of the present object can't.
func (r tracing) failures(ctx context.Context) error {
	validations := broker.ValidateArgs{}.Kind()
	rows, err := r.q.JobErrorsOfImage(ctx, sqlc.JobErrorsOfImageParams{
		ImageID: r.id, Kinds: []string{validations, broker.FetchArgs{}.Kind()}, MaxRows: maxHistory,
	})
	list := make([]broker.Happening, len(rows))
	last := ""
	for i, e := range rows {
		list[i] = broker.Happening{
			At: e.At, What: broker.HappenedFetchFailed, JobID: e.ID, Try: int(e.Try), Cause: cause(e.Cause),
		}
		if e.Kind == validations {
			list[i].What = broker.HappenedCheckFailed
			if last == "" {
				last = list[i].Cause
			}
		}
	}
	r.add(list)
	if img := r.t.Image; img != nil && img.CheckFailingSince != nil {
		r.t.Story = append(r.t.Story, broker.Happening{
			At: *img.CheckFailingSince, What: broker.HappenedCheckFailing, Attempt: img.Attempt, Failures: img.CheckFailures, Cause: last,
		})
	}
	return err
}

func (r tracing) verdicts(ctx context.Context) error {
	rows, err := r.q.VerdictsOfImage(ctx, sqlc.VerdictsOfImageParams{ImageID: r.id, MaxRows: maxHistory})
	list := make([]broker.Happening, len(rows))
	for i, v := range rows {
		list[i] = broker.Happening{
			At: v.JudgedAt, What: broker.HappenedVerdict, Attempt: int(v.Attempt), Bucket: v.Bucket, ETag: v.Etag,
			State: broker.State(v.State), Reasons: v.Reasons, Holder: v.Holder, SizeBytes: v.Size,
		}
		copy(list[i].SHA1[:], v.Sha1)
	}
	r.add(list)
	return err
}

func (r tracing) attempts(ctx context.Context) error {
	rows, err := r.q.AttemptsOfImage(ctx, sqlc.AttemptsOfImageParams{ImageID: r.id, MaxRows: maxHistory})
	list := make([]broker.Happening, len(rows))
	for i, a := range rows {
		list[i] = broker.Happening{
			At: a.EndedAt, What: broker.HappenedAttemptEnded, Attempt: int(a.Attempt), Filename: a.Filename, Bucket: deref(a.Bucket),
			ETag: deref(a.Etag), SizeBytes: a.ObjectSize, Reasons: a.Reasons,
		}
	}
	r.add(list)
	return err
}

func (r tracing) watching(ctx context.Context) error {
	rows, err := r.q.WatchesOfImage(ctx, r.id)
	for _, w := range rows {
		at := broker.Watching{Bucket: w.Bucket, Looks: w.Looks, NextLook: w.NextLookAt, Pause: w.Pause, Fault: broker.PlainCause(w.Fault)}
		if w.LookedAt.After(time.Unix(0, 0)) { // 'epoch' until the first one
			at.LastLook = &w.LookedAt
		}
		r.t.Watching = append(r.t.Watching, at)
	}
	return err
}
