package client

import (
	"io/fs"
	"time"
)

// stamp is what tells, without reading a file, that its bytes are the same as
// before. inode and ctime are zero where the system does not tell them; ctime
// catches programs that write in place and put the old mtime back.
type stamp struct {
	size  int64
	mtime int64 // nanoseconds since 1970
	inode uint64
	ctime int64 // nanoseconds since 1970
}

func stampOf(fi fs.FileInfo) stamp {
	s := stamp{size: fi.Size(), mtime: fi.ModTime().UnixNano()}
	s.inode, s.ctime = changeTag(fi)
	return s
}

// racy is how close to a change a reading may lie and still miss it: the coarsest
// clock of a file system in use (FAT) has steps of two seconds. Git has the same
// rule for its index.
const racy = 2 * time.Second

// settled reports whether the file had been left alone for long enough at the
// time of reading for its stamp to vouch for what was read.
func (s stamp) settled(at time.Time) bool {
	return s.mtime < at.Add(-racy).UnixNano()
}
