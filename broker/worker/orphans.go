package worker

import (
	"fmt"
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
