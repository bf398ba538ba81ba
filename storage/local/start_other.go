//go:build !linux

package local

import (
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
)

func newPosix(dir string, m meta.MetadataStorer, opts posix.PosixOpts) (*posix.Posix, error) {
	return newPosixHere(dir, m, opts)
}
