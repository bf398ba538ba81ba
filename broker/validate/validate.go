// Package validate proves that an object is a whole and true image, in one
// streaming pass.
//
// JPEG, PNG, TIFF and WebP are proven by decoding every coded bit (TIFF as far as
// its compression is known here); HEIF, AVIF and raw photos by their containers:
// every part that is listed must lie in the file. Facts.Proof tells which it was.
// The rows that a proof decodes make a thumbnail on their way; where it decodes
// none, the embedded previews do.
//
// Image reads the object once from its first to its last byte (formats whose
// index lies elsewhere add a few ranged reads), computes SHA-1 and CRC-32 on the
// way, proves the picture's structure, and collects facts. It holds no
// permissions and writes nothing; memory beyond small fixed buffers is taken
// from the Budget.
package validate

import (
	"context"
	"io"

	"github.com/uploadbroker/uploadbroker/broker"
)

// Source is an object to be judged. Open reads from an offset in bytes to the
// end; the caller closes what it opened. Open may be called several times, also
// at once. An error of Open or of reading means that the check could not run;
// it is never a verdict.
type Source interface {
	Size() int64
	Open(ctx context.Context, off int64) (io.ReadCloser, error)
}

// Want is what was declared of the object, and the limits it is held to.
type Want struct {
	Kind      broker.ProjectKind // recon judges the picture; files only the bytes
	Name      string             // the user's file name; only its extension is looked at, as a hint
	Type      string             // declared MIME type, "" when none
	SHA1      broker.SHA1        // declared; zero when none
	Size      int64              // declared, in bytes; negative when none
	MaxObject int64              // bytes; 0: no limit
	MaxPixels int64              // width times height; 0: no limit
	Budget    *Budget            // nil: no limit
	Thumb     bool               // make a thumbnail (Verdict.Thumb) of what is sound
}
