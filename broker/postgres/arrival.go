package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres/sqlc"
)

// JobQueue is the River queue of validations, JobAttempts how often one is tried.
const (
	JobQueue    = "validate"
	JobAttempts = 10
)

// See performs broker.EventSeen for objects of one project that a look found in
// one bucket, and inserts a validation for each image that moved. It returns how
// many did.
func (s *Store) See(ctx context.Context, projectID, bucket string, objects []broker.Seen, now time.Time) (int, error) {
	if len(objects) == 0 {
		return 0, nil
	}
	p := sqlc.SeeObjectsParams{
		ProjectID: projectID, Bucket: bucket, Now: now, FromStates: strs(broker.FromStates(broker.EventSeen)),
	}
	for _, o := range objects {
		p.Filenames = append(p.Filenames, o.Filename)
		p.Etags = append(p.Etags, o.ETag)
		p.Sizes = append(p.Sizes, o.SizeBytes)
	}
	moved := 0
	err := s.inTx(ctx, func(tx pgx.Tx, q *sqlc.Queries) error {
		rows, err := q.SeeObjects(ctx, p)
		if err != nil {
			return err
		}
		moved = len(rows)
		jobs := make([]broker.ValidateArgs, len(rows))
		for i, r := range rows {
			jobs[i] = broker.ValidateArgs{ImageID: r.ID, Attempt: int(r.Attempt), ETag: r.Etag, SizeBytes: r.ObjectSize, Bucket: bucket}
		}
		return s.insertJobs(ctx, tx, jobs)
	})
	return moved, err
}

func (s *Store) insertJobs(ctx context.Context, tx pgx.Tx, jobs []broker.ValidateArgs) error {
	if len(jobs) == 0 {
		return nil
	}
	params := make([]river.InsertManyParams, len(jobs))
	for i, j := range jobs {
		params[i] = river.InsertManyParams{Args: j, InsertOpts: &river.InsertOpts{Queue: JobQueue, MaxAttempts: JobAttempts}}
	}
	_, err := s.river.InsertManyFastTx(ctx, tx, params)
	return err
}

// insertValidation inserts the job of an image that is Uploaded again.
func (s *Store) insertValidation(ctx context.Context, tx pgx.Tx, q *sqlc.Queries, projectID, id string) error {
	rows, err := q.ImagesByID(ctx, sqlc.ImagesByIDParams{ProjectID: projectID, Ids: []string{id}})
	if err != nil || len(rows) == 0 {
		return err
	}
	r := rows[0]
	return s.insertJobs(ctx, tx, []broker.ValidateArgs{{
		ImageID: r.ID, Attempt: int(r.Attempt), ETag: deref(r.Etag), SizeBytes: deref(r.ObjectSize),
		Bucket: deref(r.Bucket),
	}})
}

// Expire performs broker.EventExpire for those of the uploads whose grants have
// all ended for as long as broker.GraceAfterGrant, and returns how many moved.
func (s *Store) Expire(ctx context.Context, uploads []broker.OpenUpload, now time.Time) (int, error) {
	if len(uploads) == 0 {
		return 0, nil
	}
	p := sqlc.ExpireImagesParams{
		Now: now, GrantsBefore: now.Add(-broker.GraceAfterGrant), FromStates: strs(broker.FromStates(broker.EventExpire)),
		Reason: broker.Reasonf(broker.ReasonExpired, "nothing arrived before the last grant ended; register the image again").String(),
	}
	for _, u := range uploads {
		p.Ids = append(p.Ids, u.ImageID)
		p.Attempts = append(p.Attempts, int32(u.Attempt))
	}
	var n int64
	err := s.inTx(ctx, func(_ pgx.Tx, q *sqlc.Queries) (err error) {
		n, err = q.ExpireImages(ctx, p)
		return err
	})
	return int(n), err
}

// Judging is what a worker holds while it validates: which object, and who.
type Judging struct {
	broker.ValidateArgs
	Holder string
}

// Judge performs broker.EventReady or broker.EventInvalid. moved is false when
// the image no longer holds what was judged; the verdict is then dropped.
func (s *Store) Judge(ctx context.Context, j Judging, v broker.Verdict, now time.Time) (moved bool, err error) {
	facts, err := json.Marshal(v.Facts)
	if err != nil {
		return false, err
	}
	event, to := broker.EventReady, broker.StateReady
	if !v.Sound() {
		event, to = broker.EventInvalid, broker.StateInvalid
	}
	p := sqlc.JudgeImageParams{
		ID: j.ImageID, Attempt: int32(j.Attempt), Etag: j.ETag, FromStates: strs(broker.FromStates(event)), ToState: string(to),
		Reasons: reasonTexts(v.Reasons), Facts: facts, Holder: j.Holder, Now: now,
	}
	if !v.SHA1.IsZero() {
		crc := int64(v.CRC32)
		p.Sha1, p.Size, p.Crc32 = v.SHA1[:], &v.Size, &crc
	}
	n, err := s.q.JudgeImage(ctx, p)
	return n > 0, wrap(err)
}

// Unchecked performs broker.EventUnchecked.
func (s *Store) Unchecked(ctx context.Context, j Judging, why string, now time.Time) (moved bool, err error) {
	n, err := s.q.JudgeImage(ctx, sqlc.JudgeImageParams{
		ID: j.ImageID, Attempt: int32(j.Attempt), Etag: j.ETag,
		FromStates: strs(broker.FromStates(broker.EventUnchecked)), ToState: string(broker.StateInvalid),
		Reasons: reasonTexts([]broker.Reason{broker.Reasonf(broker.ReasonUnchecked, "%s", why)}),
		Facts:   []byte("{}"), Holder: j.Holder, Now: now,
	})
	return n > 0, wrap(err)
}

func reasonTexts(reasons []broker.Reason) []string {
	out := make([]string, len(reasons))
	for i, r := range reasons {
		out[i] = r.String()
	}
	return out
}

// CheckFailed counts a check that could not run, and tells how many there were
// since when. CodeNotFound when the image no longer waits for this check.
func (s *Store) CheckFailed(ctx context.Context, j Judging, now time.Time) (failures int, since time.Time, err error) {
	r, err := s.q.CountCheckFailure(ctx, sqlc.CountCheckFailureParams{ID: j.ImageID, Attempt: int32(j.Attempt), Etag: j.ETag, Now: now})
	return int(r.CheckFailures), deref(r.CheckFailingSince), wrap(err)
}

// ToValidate returns the image of a job with its project's kind. ok is false
// when there is nothing to do: it was removed, judged, or holds another object.
func (s *Store) ToValidate(ctx context.Context, args broker.ValidateArgs) (img broker.Image, kind broker.ProjectKind, ok bool, err error) {
	r, err := s.q.ImageWithProject(ctx, args.ImageID)
	if errors.Is(err, pgx.ErrNoRows) {
		return img, "", false, nil
	}
	if err != nil {
		return img, "", false, wrap(err)
	}
	img, err = toImage(r.Image)
	ok = img.State == broker.StateUploaded && img.Attempt == args.Attempt && img.ETag == args.ETag
	return img, broker.ProjectKind(r.Project.Kind), ok, err
}

// AcquireLease takes the right to work on an image for a minute. false: someone
// else holds it. died is who held it before and let it run out, "" for nobody: he
// was killed at this image, or hung.
func (s *Store) AcquireLease(ctx context.Context, imageID, holder string) (got bool, died string, err error) {
	died, err = s.q.AcquireLease(ctx, sqlc.AcquireLeaseParams{ImageID: imageID, Holder: holder})
	if errors.Is(err, pgx.ErrNoRows) {
		return false, "", nil
	}
	return err == nil, died, wrap(err)
}

// ExtendLease keeps a lease for a further minute. false: it was lost.
func (s *Store) ExtendLease(ctx context.Context, imageID, holder string) (bool, error) {
	n, err := s.q.ExtendLease(ctx, sqlc.ExtendLeaseParams{ImageID: imageID, Holder: holder})
	return n > 0, wrap(err)
}

// ReleaseLease gives a lease back.
func (s *Store) ReleaseLease(ctx context.Context, imageID, holder string) error {
	return wrap(s.q.ReleaseLease(ctx, sqlc.ReleaseLeaseParams{ImageID: imageID, Holder: holder}))
}

// DropLeases ends all leases: their holders are dead. Only for a process that
// knows itself alone.
func (s *Store) DropLeases(ctx context.Context) error {
	_, err := s.q.DropLeases(ctx)
	return wrap(err)
}

// ForgetLeases deletes leases that ended and that nobody will ask about.
func (s *Store) ForgetLeases(ctx context.Context) error { return wrap(s.q.ForgetLeases(ctx)) }

// RescueJobs makes jobs available again that run since before a time while nobody
// holds their image's lease, and returns how many.
func (s *Store) RescueJobs(ctx context.Context, before time.Time) (int, error) {
	n, err := s.q.RescueJobs(ctx, sqlc.RescueJobsParams{
		Kinds: []string{broker.ValidateArgs{}.Kind(), broker.FetchArgs{}.Kind()}, Before: before,
	})
	return int(n), wrap(err)
}

// RequeueUnheld inserts a validation for each Uploaded image, seen before a time,
// that nobody holds a lease on and no job waits for or began to run since.
func (s *Store) RequeueUnheld(ctx context.Context, before time.Time, max int) (int, error) {
	n := 0
	err := s.inTx(ctx, func(tx pgx.Tx, q *sqlc.Queries) error {
		rows, err := q.UnheldUploads(ctx, sqlc.UnheldUploadsParams{Before: before, MaxRows: int32(max)})
		if err != nil {
			return err
		}
		jobs := make([]broker.ValidateArgs, len(rows))
		for i, r := range rows {
			jobs[i] = broker.ValidateArgs{ImageID: r.ID, Attempt: int(r.Attempt), ETag: r.Etag, SizeBytes: r.ObjectSize, Bucket: r.Bucket}
		}
		n = len(jobs)
		return s.insertJobs(ctx, tx, jobs)
	})
	return n, err
}
