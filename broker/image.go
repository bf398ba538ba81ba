package broker

import (
	"encoding/json"
	"time"
)

// Image is one uploaded file's record.
type Image struct {
	ID        string
	ProjectID string
	Name      string // the user's file name, see CheckName
	SHA1      SHA1   // declared; zero when none was
	SizeBytes int64  // declared; negative when none was
	Type      string // declared; "" when none was
	State     State
	Attempt   int
	Filename  string // of this attempt: the key below the project's prefix

	Bucket      string // decided by the first object seen
	ETag        string
	ObjectBytes int64 // size that the bucket tells

	ProvenSHA1  SHA1
	ProvenBytes int64
	CRC32       uint32
	Reasons     []Reason
	Accepted    bool
	Facts       Facts

	CheckFailures     int
	CheckFailingSince *time.Time
	SweptAt           *time.Time // when the object of an Invalid image was deleted

	CreatedAt   time.Time
	StartedAt   *time.Time
	UploadedAt  *time.Time
	JudgedAt    *time.Time
	RemovedAt   *time.Time
	RemovedFrom State
	UndoUntil   *time.Time
}

// Key is the object's key in every bucket.
func (i Image) Key() string { return i.ProjectID + "/" + i.Filename }

// Standing is what decides the image's moves at that time.
func (i Image) Standing(now time.Time) Standing {
	damaged := i.State == StateInvalid && !i.ProvenSHA1.IsZero() && len(i.Reasons) > 0
	for _, r := range i.Reasons {
		damaged = damaged && (r.Code == ReasonCorrupt || r.Code == ReasonTruncated)
	}
	unchecked := i.State == StateInvalid && len(i.Reasons) == 1 && i.Reasons[0].Code == ReasonUnchecked && i.ETag != ""
	return Standing{
		State: i.State, Attempt: i.Attempt, ETag: i.ETag, Bucket: i.Bucket, Damaged: damaged && i.SweptAt == nil,
		Unchecked:   unchecked && i.SweptAt == nil,
		RemovedFrom: i.RemovedFrom, UndoOpen: i.UndoUntil != nil && now.Before(*i.UndoUntil),
	}
}

// Grant is the right to write one attempt in one bucket until a time.
type Grant struct {
	Kind    GrantKind
	Bucket  string
	Request Request      // of kind request
	Session CloudSession // of kind session
	Key     string       // of the object, of kind session
}

// GrantKind says how a grant is carried out.
type GrantKind string

// The kinds.
const (
	GrantRequest GrantKind = "request" // a presigned request
	GrantSession GrantKind = "session" // an STS session
	GrantFetch   GrantKind = "fetch"   // the broker's own: it fetches a URL for the client
)

// Entry asks to register one image.
type Entry struct {
	Name      string
	SHA1      string // hex, either case
	SizeBytes int64
	Type      string // "": by the name's extension
	Start     bool   // the upload begins now
	NoCopy    bool   // upload it even where the owner has the same bytes in another project
}

// RegisterStatus answers an entry of a batch.
type RegisterStatus string

// The statuses.
const (
	StatusGranted RegisterStatus = "granted" // upload with the grant
	StatusExists  RegisterStatus = "exists"  // the bytes are there: Uploaded or Ready
	StatusProblem RegisterStatus = "problem" // Err says what to do
	StatusOK      RegisterStatus = "ok"      // start and done: the image as it is now
)

// Registered answers one entry: an image with a grant, an image that exists, or
// an error.
type Registered struct {
	Status RegisterStatus
	Image  Image
	Grant  *Grant
	Err    error
}

// CheckStatus answers whether a sha1 is there.
type CheckStatus string

// The answers of Check.
const (
	CheckExists  CheckStatus = "exists"  // Uploaded or Ready
	CheckOpen    CheckStatus = "open"    // registered, the bytes are not there
	CheckInvalid CheckStatus = "invalid" // judged Invalid; registering begins a further attempt
	CheckAbsent  CheckStatus = "absent"  // not registered
	CheckProblem CheckStatus = "problem" // not a sha1
)

// Checked answers one sha1 of a Check.
type Checked struct {
	SHA1   string // as asked
	Status CheckStatus
	Image  *Image
	Err    error
}

// HistoryEntry is one line of an image's story, from the audit.
type HistoryEntry struct {
	At      time.Time
	Action  string
	KeyID   string          // "": the program itself
	Owner   string          // id of the owner who acted, "" for the program
	Detail  json.RawMessage // an object
	ImageID string
}

// Seen is an object that a look found at the key of an attempt.
type Seen struct {
	Bucket    string
	ProjectID string
	Filename  string
	ETag      string
	SizeBytes int64
}

// OpenUpload is an image that waits for its bytes in a bucket, or one of which
// somebody says that its object changed.
type OpenUpload struct {
	ImageID     string
	Attempt     int
	Filename    string
	Buckets     []string  // where it has grants
	GrantsEnded bool      // every grant, in any bucket, ended at least GraceAfterGrant ago
	HintedAt    time.Time // zero: it waits for its bytes
}

// GraceAfterGrant is how long after its last grant an image is given for bytes
// that were on their way when the grant ended.
const GraceAfterGrant = 5 * time.Minute
