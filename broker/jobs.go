package broker

// ValidateArgs asks a worker to judge one object. The store inserts it in the
// transaction that makes the image Uploaded. A job whose attempt or etag is no
// longer the image's does nothing.
type ValidateArgs struct {
	ImageID   string `json:"image_id"`
	Attempt   int    `json:"attempt"`
	ETag      string `json:"etag"`
	SizeBytes int64  `json:"size"` // as the bucket tells; decides the job's time limit
}

// Kind names the job.
func (ValidateArgs) Kind() string { return "validate" }
