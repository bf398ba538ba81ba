package broker

import "time"

// A Verdict is what validation says of one object. A bad image is a verdict,
// not an error; a check that could not run is an error and is retried.
type Verdict struct {
	Reasons []Reason // empty: the object is sound
	SHA1    SHA1     // of all bytes read; proven when the whole object was read
	CRC32   uint32   // IEEE, of all bytes
	Size    int64    // bytes read
	Facts   Facts
	Thumb   []byte // a small picture of a sound image, a JPEG; nil: none could be made. It is stored beside the image, not with the verdict
}

// Sound reports whether the verdict is Ready.
func (v Verdict) Sound() bool { return len(v.Reasons) == 0 }

// Proof says how much of a file was proven.
type Proof string

// The proofs.
const (
	ProofFull      Proof = "full"      // every coded byte of the picture was decoded or checksummed
	ProofStructure Proof = "structure" // the container and its metadata hold together; the picture was not decoded
	ProofBytes     Proof = "bytes"     // size and checksums only; for files that are no images
)

// Facts are what was learnt of an object. They never refuse it by themselves.
type Facts struct {
	Type      string      `json:"type,omitempty"`       // the true MIME type, by content
	Declared  string      `json:"declared,omitempty"`   // the declared type, where it differs from the true one
	Proof     Proof       `json:"proof,omitempty"`      //
	Width     int         `json:"width,omitempty"`      // pixels, as stored
	Height    int         `json:"height,omitempty"`     // pixels, as stored
	Taken     *time.Time  `json:"taken,omitempty"`      // EXIF time; UTC where the file names no zone
	TakenZone bool        `json:"taken_zone,omitempty"` // whether the file names the zone of Taken
	GPS       *GPS        `json:"gps,omitempty"`
	RelAltM   *float64    `json:"rel_alt_m,omitempty"` // metres above the take-off, of a drone that writes it
	Gimbal    *Gimbal     `json:"gimbal,omitempty"`    // how a drone held its camera
	Make      string      `json:"make,omitempty"`
	Model     string      `json:"model,omitempty"`
	Lens      string      `json:"lens,omitempty"`
	FocalMM   float64     `json:"focal_mm,omitempty"`       // focal length in millimetres
	Orient    int         `json:"orientation,omitempty"`    // EXIF orientation, 1 to 8
	TrailingB int64       `json:"trailing_bytes,omitempty"` // bytes after the picture's own end
	Thumb     *ThumbFacts `json:"thumb,omitempty"`          // of the thumbnail; nil: there is none
	Notes     []string    `json:"notes,omitempty"`          // image checks that did not count (kind files), oddities
}

// GPS is a position in degrees (WGS 84), altitude in metres where known.
type GPS struct {
	Lat float64  `json:"lat"`
	Lon float64  `json:"lon"`
	Alt *float64 `json:"alt,omitempty"`
}

// Gimbal is the attitude of a drone's camera, in degrees, as the drone wrote it:
// DJI's pitch is -90 straight down, and its yaw counts from north, eastwards.
type Gimbal struct {
	Pitch float64 `json:"pitch"`
	Roll  float64 `json:"roll"`
	Yaw   float64 `json:"yaw"`
}

// ThumbFacts tell of a thumbnail, which stands upright.
type ThumbFacts struct {
	Width  int    `json:"width"`          // pixels
	Height int    `json:"height"`         // pixels
	ETag   string `json:"etag,omitempty"` // of the stored object; whoever stores it sets it
}
