//go:build !linux && !darwin

package client

import "io/fs"

func changeTag(fs.FileInfo) (inode uint64, ctime int64) { return 0, 0 }
