package worker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/storage"
)

// Retention is how long objects are kept that serve no image any more. Zero keeps
// them for good.
type Retention struct {
	Invalid time.Duration // of an Invalid image, since its verdict
	Orphans time.Duration // of ended attempts, since they ended; else since they were written or begun
}

// OrphanClass says why an object serves no image.
type OrphanClass string

// The classes. The worker sweeps by itself what rows prove to be over: Invalid,
// Ended, Multipart, Thumb and Result. A database that was restored from yesterday's backup
// knows nothing of today's photos, which then are Strays, so that those go only when
// an operator says so; so do those Elsewhere.
const (
	OrphanNone      OrphanClass = ""          // it serves an image, or a removal cares for it
	OrphanInvalid   OrphanClass = "INVALID"   // the object that an Invalid image was judged by
	OrphanEnded     OrphanClass = "ENDED"     // of an attempt that another followed
	OrphanStray     OrphanClass = "STRAY"     // no image's, below the prefix of a project or of the program
	OrphanElsewhere OrphanClass = "ELSEWHERE" // of an image that has its object in another bucket
	OrphanForeign   OrphanClass = "FOREIGN"   // below a project that this database never had: perhaps another installation's
	OrphanMultipart OrphanClass = "MULTIPART" // an upload in parts that was begun and not finished
	OrphanThumb     OrphanClass = "THUMB"     // the thumbnail of an image that is gone, is not Ready, or tells of none
	OrphanResult    OrphanClass = "RESULT"    // of a reconstruction that has ended and tells of none such
)

// Orphan is an object, or an upload in parts, that serves no image. Those that are
// Foreign are told together, for each prefix once.
type Orphan struct {
	Bucket    string
	Class     OrphanClass
	Key       string
	Objects   int       // 1, but of a foreign prefix
	SizeBytes int64     // -1: not known, of a multipart
	Modified  time.Time // when it was written or begun; of a foreign prefix the last one
	ImageID   string    // "": no image's
	Attempt   int
	Why       string    // a half sentence that ends where Since begins
	Since     time.Time // zero: Why says it all
	DueAt     time.Time // when it may be swept; zero: never

	projectID, filename string
	thumb               bool   // below the prefix of its project's thumbnails
	thumbOf             string // the image that its key names
	result              bool   // below the prefix of its project's results
	resultOf            string // the task that its key names
	etag                string
	uploadID            string // of a multipart
}

// Due reports whether it may be swept at that time.
func (o Orphan) Due(now time.Time) bool { return !o.DueAt.IsZero() && !now.Before(o.DueAt) }

// UploadID is the id of an upload in parts; "" of an object.
func (o Orphan) UploadID() string { return o.uploadID }

// byItself reports whether the worker sweeps the class unasked.
func (c OrphanClass) byItself() bool {
	return c == OrphanInvalid || c == OrphanEnded || c == OrphanMultipart || c == OrphanThumb || c == OrphanResult
}

// classify says what is amiss with an object below a project's prefix. It fills
// in all but what the bucket told of the object.
func (r Retention) classify(o Orphan, files postgres.Files) Orphan {
	f := files.Of(o.filename)
	here := f.Bucket == "" || f.Bucket == o.Bucket
	switch {
	case files.Project == postgres.ProjectUnknown:
		o.Class, o.Why = OrphanForeign, "no project of this database"
	case files.Project == postgres.ProjectRemoved:
		o.Class = OrphanNone
	case files.Project == postgres.ProjectLives && o.result && o.resultUnderWay(files):
		o.Class = OrphanNone
	case o.uploadID != "":
		if f.State.Open() {
			return o
		}
		o.Class, o.Why, o.Since = OrphanMultipart, "unfinished, begun", o.Modified
		o.DueAt = r.due(o, r.Orphans)
	case files.Project == postgres.ProjectFinal:
		o.Class, o.Why = OrphanStray, "its project was removed"
		o.DueAt = r.due(o, r.Orphans)
	case o.result:
		return r.classifyResult(o, files)
	case o.thumb:
		return r.classifyThumb(o, files.ThumbOf(o.thumbOf))
	case f.State == broker.StateRemoved:
		o.Class = OrphanNone
	case f.ImageID != "" && !here:
		o.Class, o.Why = OrphanElsewhere, "its image has its object in "+f.Bucket
		o.ImageID, o.Attempt = f.ImageID, f.Attempt
		// Who has a grant may be at it still.
		o.DueAt = r.due(o, r.Orphans, f.GrantedHere.Add(broker.GraceAfterGrant))
	// Another ETag than the judged one is news, of which a look will tell. While
	// a grant lives, another object may come at any moment.
	case f.State == broker.StateInvalid && f.Bucket == o.Bucket && f.ETag == o.etag:
		o.Class, o.Why, o.Since = OrphanInvalid, "judged Invalid", f.JudgedAt
		o.ImageID, o.Attempt = f.ImageID, f.Attempt
		o.DueAt = r.due(o, r.Invalid, f.JudgedAt.Add(r.Invalid), f.GrantsEnd.Add(broker.GraceAfterGrant))
	case f.ImageID != "":
		o.Class = OrphanNone
	case f.EndedImageID != "":
		o.Class, o.Why, o.Since = OrphanEnded, fmt.Sprintf("attempt %d ended", f.EndedAttempt), f.EndedAt
		o.ImageID, o.Attempt = f.EndedImageID, f.EndedAttempt
		o.DueAt = r.due(o, r.Orphans, f.EndedAt.Add(r.Orphans))
	case !f.SpareUntil.IsZero():
		o.Class = OrphanNone
	default:
		o.Class, o.Why = OrphanStray, "no image has this key"
		o.DueAt = r.due(o, r.Orphans)
	}
	return o
}

// classifyThumb is classify for what lies where a living project's thumbnails do.
// While an image is Uploaded, its verdict may be on its way: the thumbnail is
// stored first.
func (r Retention) classifyThumb(o Orphan, t postgres.Thumb) Orphan {
	here := t.Bucket == "" || t.Bucket == o.Bucket
	switch {
	case o.thumbOf == "":
		o.Class, o.Why = OrphanStray, "no thumbnail is called so"
	case t.State == broker.StateNone && !t.Final:
		o.Class, o.Why = OrphanStray, "no image has this id"
	case t.State == broker.StateRemoved,
		t.State == broker.StateUploaded && here,
		t.State == broker.StateReady && here && t.Told:
		o.Class = OrphanNone
		return o
	case t.Final:
		o.Class, o.Why = OrphanThumb, "its image is gone"
	case !here:
		o.Class, o.Why = OrphanThumb, "its image has its object in "+t.Bucket
	case t.State == broker.StateReady:
		o.Class, o.Why = OrphanThumb, "its image tells of no thumbnail"
	default:
		o.Class, o.Why = OrphanThumb, "its image is "+string(t.State)
	}
	if o.Class == OrphanThumb {
		o.ImageID, o.Attempt = o.thumbOf, t.Attempt
	}
	o.DueAt = r.due(o, r.Orphans)
	return o
}

// resultUnderWay reports whether its task may be writing it.
func (o Orphan) resultUnderWay(files postgres.Files) bool {
	state, _ := files.TaskOf(o.resultOf, "")
	return state == broker.TaskPending || state == broker.TaskProcessing
}

// classifyResult is classify for what lies where a living project's results do. A
// task that has ended makes no further ones.
func (r Retention) classifyResult(o Orphan, files postgres.Files) Orphan {
	_, _, name, _ := broker.ParseResultKey(o.Key)
	state, etag := files.TaskOf(o.resultOf, name)
	switch {
	case o.resultOf == "":
		o.Class, o.Why = OrphanStray, "no result is called so"
	case state == "":
		o.Class, o.Why = OrphanStray, "no reconstruction has this id"
	case etag != "": // overwritten by hand it is still what the row means
		o.Class = OrphanNone
		return o
	case state == broker.TaskDone:
		o.Class, o.Why = OrphanResult, "its reconstruction tells of no such result here"
	default:
		o.Class, o.Why = OrphanResult, "its reconstruction is "+string(state)
	}
	o.DueAt = r.due(o, r.Orphans)
	return o
}

// due is the latest of some times and the end of the object's own retention.
func (r Retention) due(o Orphan, kept time.Duration, others ...time.Time) time.Time {
	if kept <= 0 || storage.CheckKey(o.Key) != nil { // a name that no bucket is asked for
		return time.Time{}
	}
	at := o.Modified.Add(kept)
	for _, t := range others {
		if t.After(at) {
			at = t
		}
	}
	return at
}

// Orphans lists what serves no image in a bucket: found is told of each, in the
// order of their keys, then of unfinished uploads, then of foreign prefixes.
// What lies outside projects and the program's own prefixes is none of ours and
// not even listed.
func (w *Worker) Orphans(ctx context.Context, b *storage.Bucket, found func(Orphan) error) error {
	s := &search{w: w, b: b, found: found, foreign: map[string]*Orphan{}}
	for first := '0'; first <= '7'; first++ { // as every id begins
		if err := s.objects(ctx, string(first), s.projects); err != nil {
			return err
		}
	}
	for _, prefix := range []string{broker.ThumbPrefix(""), broker.ResultPrefix("")} {
		if err := s.objects(ctx, prefix, s.projects); err != nil {
			return err
		}
	}
	for _, prefix := range storage.OwnPrefixes() {
		if err := s.objects(ctx, prefix, s.own); err != nil {
			return err
		}
	}
	if b.CanSweepMultiparts() {
		ups, err := b.Multiparts(ctx, "")
		if err != nil {
			return err
		}
		if err := s.multiparts(ctx, ups); err != nil {
			return err
		}
	}
	prefixes := make([]Orphan, 0, len(s.foreign))
	for _, o := range s.foreign {
		prefixes = append(prefixes, *o)
	}
	slices.SortFunc(prefixes, func(a, b Orphan) int { return cmp.Compare(a.Key, b.Key) })
	for _, o := range prefixes {
		if err := found(o); err != nil {
			return err
		}
	}
	return nil
}

// search is one listing of a bucket.
type search struct {
	w       *Worker
	b       *storage.Bucket
	found   func(Orphan) error
	foreign map[string]*Orphan // by prefix
}

// objects hands every page below a prefix to f.
func (s *search) objects(ctx context.Context, prefix string, f func(context.Context, []Orphan) error) error {
	for after := ""; ; {
		page, err := s.b.List(ctx, prefix, after, listPage)
		if err != nil {
			return err
		}
		orphans := make([]Orphan, len(page))
		for i, obj := range page {
			orphans[i] = s.w.orphan(s.b, obj)
			after = obj.Key
		}
		if err := f(ctx, orphans); err != nil || len(page) < listPage {
			return err
		}
	}
}

// orphan is an object of which nothing is known but what the bucket told.
func (w *Worker) orphan(b *storage.Bucket, obj storage.Object) Orphan {
	o := Orphan{
		Bucket: b.Info().Symbol, Key: obj.Key, Objects: 1, SizeBytes: obj.SizeBytes, Modified: obj.Modified, etag: obj.ETag,
	}
	if id, filename, ok := strings.Cut(obj.Key, "/"); ok && broker.IsID(id) {
		o.projectID, o.filename = id, filename
	} else if id, image, ok := broker.ParseThumbKey(obj.Key); ok {
		o.projectID, o.thumbOf, o.thumb = id, image, true
	} else if id, task, _, ok := broker.ParseResultKey(obj.Key); ok {
		o.projectID, o.resultOf, o.result = id, task, true
	}
	return o
}

func (w *Worker) multipart(b *storage.Bucket, up storage.Multipart) Orphan {
	o := w.orphan(b, storage.Object{Key: up.Key, SizeBytes: -1, Modified: up.Began})
	o.uploadID = up.UploadID
	return o
}

// projects classifies objects of any number of projects.
func (s *search) projects(ctx context.Context, page []Orphan) error {
	for len(page) > 0 {
		id := page[0].projectID
		n := slices.IndexFunc(page, func(o Orphan) bool { return o.projectID != id })
		if n < 0 {
			n = len(page)
		}
		part := page[:n]
		page = page[n:]
		if id == "" {
			continue
		}
		if err := s.project(ctx, id, part); err != nil {
			return err
		}
	}
	return nil
}

// project classifies objects and uploads of one project.
func (s *search) project(ctx context.Context, id string, part []Orphan) error {
	classified, err := s.w.classify(ctx, s.b, id, part)
	if err != nil {
		return err
	}
	for _, o := range classified {
		switch o.Class {
		case OrphanNone:
		case OrphanForeign:
			s.addForeign(o)
		default:
			if err := s.found(o); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *search) addForeign(o Orphan) {
	prefix := o.projectID + "/"
	switch {
	case o.thumb:
		prefix = broker.ThumbPrefix(o.projectID)
	case o.result:
		prefix = broker.ResultPrefix(o.projectID)
	}
	all := s.foreign[prefix]
	if all == nil {
		all = &Orphan{Bucket: o.Bucket, Class: OrphanForeign, Key: prefix, Why: o.Why}
		s.foreign[prefix] = all
	}
	all.Objects++
	all.SizeBytes += max(o.SizeBytes, 0)
	if o.Modified.After(all.Modified) {
		all.Modified = o.Modified
	}
}

// own classifies what the program itself left behind.
func (s *search) own(_ context.Context, page []Orphan) error {
	for _, o := range page {
		if err := s.found(s.w.leftover(o)); err != nil {
			return err
		}
	}
	return nil
}

func (w *Worker) leftover(o Orphan) Orphan {
	o.Class, o.Why = OrphanStray, "left by a try of the bucket"
	o.DueAt = w.Retention.due(o, w.Retention.Orphans)
	return o
}

// multiparts classifies unfinished uploads anywhere in the bucket.
func (s *search) multiparts(ctx context.Context, ups []storage.Multipart) error {
	slices.SortStableFunc(ups, func(a, b storage.Multipart) int { return cmp.Compare(a.Key, b.Key) })
	var page []Orphan
	for _, up := range ups {
		o := s.w.multipart(s.b, up)
		if o.projectID != "" {
			page = append(page, o)
			continue
		}
		if slices.ContainsFunc(storage.OwnPrefixes(), func(p string) bool { return strings.HasPrefix(o.Key, p) }) {
			if err := s.found(s.w.leftover(o)); err != nil {
				return err
			}
		}
	}
	return s.projects(ctx, page)
}

// classify asks the database about objects of one project.
func (w *Worker) classify(ctx context.Context, b *storage.Bucket, projectID string, objects []Orphan) ([]Orphan, error) {
	files, err := w.Store.Files(ctx, projectID, b.Info().Symbol, namesOf(objects), w.Now())
	if err != nil {
		return nil, err
	}
	classified := make([]Orphan, len(objects))
	for i, o := range objects {
		classified[i] = w.Retention.classify(o, files)
	}
	return classified, nil
}

// namesOf names each file, thumbnail and task once.
func namesOf(objects []Orphan) (names postgres.Names) {
	for _, o := range objects {
		switch {
		case o.thumbOf != "":
			names.Thumbs = append(names.Thumbs, o.thumbOf)
		case o.resultOf != "":
			names.Tasks = append(names.Tasks, o.resultOf)
		case !o.thumb && !o.result:
			names.Files = append(names.Files, o.filename)
		}
	}
	slices.Sort(names.Files)
	slices.Sort(names.Thumbs)
	slices.Sort(names.Tasks)
	return postgres.Names{Files: slices.Compact(names.Files), Thumbs: slices.Compact(names.Thumbs), Tasks: slices.Compact(names.Tasks)}
}

// sweepPage deletes, of the objects of one project that a LIST told of, those that
// rows prove to be over and whose retention has passed.
func (w *Worker) sweepPage(ctx context.Context, b *storage.Bucket, projectID string, objects []storage.Object) (swept int, err error) {
	page := make([]Orphan, len(objects))
	for i, obj := range objects {
		page[i] = w.orphan(b, obj)
	}
	return w.sweepOf(ctx, b, projectID, page)
}

// sweepOwn deletes, of the thumbnails and results of one project, those that rows
// prove to be over and whose retention has passed.
func (w *Worker) sweepOwn(ctx context.Context, b *storage.Bucket, projectID string) (swept int, err error) {
	if w.Retention.Orphans <= 0 {
		return 0, nil
	}
	for _, prefix := range []string{broker.ThumbPrefix(projectID), broker.ResultPrefix(projectID)} {
		for after := ""; ; {
			page, err := b.List(ctx, prefix, after, listPage)
			if err != nil {
				return swept, err
			}
			if len(page) == 0 {
				break
			}
			after = page[len(page)-1].Key
			n, err := w.sweepPage(ctx, b, projectID, page)
			if swept += n; err != nil {
				return swept, err
			}
			if len(page) < listPage {
				break
			}
		}
	}
	return swept, nil
}

// sweepMultiparts ends the uploads in parts of one project that were begun longer
// ago than the retention of orphans and belong to no open image, and cleans up.
func (w *Worker) sweepMultiparts(ctx context.Context, b *storage.Bucket, projectID string) (swept int, err error) {
	if w.Retention.Orphans <= 0 {
		return 0, nil
	}
	for _, prefix := range []string{projectID + "/", broker.ResultPrefix(projectID)} {
		if b.CanSweepMultiparts() {
			ups, err := b.Multiparts(ctx, prefix)
			if err != nil {
				return swept, err
			}
			page := make([]Orphan, len(ups))
			for i, up := range ups {
				page[i] = w.multipart(b, up)
			}
			n, err := w.sweepOf(ctx, b, projectID, page)
			if swept += n; err != nil {
				return swept, err
			}
		}
		if _, err = b.Clean(ctx, prefix, w.Now().Add(-w.Retention.Orphans)); err != nil {
			return swept, err
		}
	}
	return swept, nil
}

// sweepOf sweeps what the worker sweeps by itself.
func (w *Worker) sweepOf(ctx context.Context, b *storage.Bucket, projectID string, page []Orphan) (int, error) {
	if len(page) == 0 {
		return 0, nil
	}
	classified, err := w.classify(ctx, b, projectID, page)
	if err != nil {
		return 0, err
	}
	swept, err := w.SweepOrphans(ctx, b, slices.DeleteFunc(classified, func(o Orphan) bool { return !o.Class.byItself() }))
	return len(swept), err
}
