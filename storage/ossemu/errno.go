package ossemu

import (
	"errors"
	"syscall"
)

func notFolder(err error) bool { return errors.Is(err, syscall.ENOTDIR) }

func tooLong(err error) bool { return errors.Is(err, syscall.ENAMETOOLONG) }

// isFolder is what a rename onto a folder says.
func isFolder(err error) bool {
	return errors.Is(err, syscall.EISDIR) || errors.Is(err, syscall.EEXIST) || errors.Is(err, syscall.ENOTEMPTY)
}
