package broker

// ValidateArgs asks a worker to judge one object. The store inserts it in the
// transaction that makes the image Uploaded. A job whose attempt or etag is no
// longer the image's does nothing.
type ValidateArgs struct {
	ImageID   string `json:"image_id"`
	Attempt   int    `json:"attempt"`
	ETag      string `json:"etag"`
	SizeBytes int64  `json:"size"`             // as the bucket tells; decides the job's time limit
	Bucket    string `json:"bucket,omitempty"` // where it lies; jobs of former versions don't say
}

// Kind names the job.
func (ValidateArgs) Kind() string { return "validate" }

// FetchArgs asks a worker to bring an image's bytes from a URL that a client
// named into a bucket. The store inserts it in the transaction that registers the
// image. A job whose image is no longer open in that attempt does nothing.
type FetchArgs struct {
	ImageID string `json:"image_id"`
	Attempt int    `json:"attempt"`
	Bucket  string `json:"bucket"` // where its grant is
	// URL was here before it moved into the grant: it may be a secret, and
	// operators are shown the arguments of jobs. Jobs of that time still have it.
	URL string `json:"url,omitempty"`
}

// Kind names the job.
func (FetchArgs) Kind() string { return "fetch" }
