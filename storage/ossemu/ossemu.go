// Package ossemu is an emulator of Aliyun's OSS and STS for tests, demonstrations
// and development without a cloud: the wire protocol over a folder on a disk.
//
// It is a stand-in, and an honest one: it refuses what the real ones refuse.
// Signatures are verified (OSS V1 and V4, in headers and URLs; STS's RPC
// signatures), sessions end, and each operation is allowed by the account, or by
// the session's policy, or not at all. What it can't know of the real ones stands
// in the README beside this file. Nothing of it should guard real data: its one
// account's secret is on its command line.
//
// It reads and writes below Options.Dir, and needs nothing else.
package ossemu

import (
	"log/slog"
	"time"
)

// Options say what an emulator serves, and to whom.
type Options struct {
	// Dir is where the objects lie; it is made when there is none. Its first-level
	// folders are buckets.
	Dir string
	// Buckets are made when there are none: 3 to 63 lower-case letters, digits
	// and hyphens.
	Buckets []string
	// AccessKeyID and AccessKeySecret are those of the account's one user, who
	// may do everything in the buckets and may assume the role.
	AccessKeyID, AccessKeySecret string
	// RoleARN is the one role: acs:ram::<account>:role/<name>. It may do
	// everything in the buckets; a session's policy narrows that.
	RoleARN string
	// MaxSession is the role's longest session; 0: an hour, as the real default.
	MaxSession time.Duration
	// Region is what signatures of version 4 must name; "": cn-hangzhou.
	Region string
	// Hosts names buckets by the host names that stand for them (CNAME).
	Hosts map[string]string
	// STSLimit is how many AssumeRole calls a second are answered before the
	// others are throttled; 0: 100, as the real one has it for an account.
	STSLimit int

	Now func() time.Time // nil: time.Now
	Log *slog.Logger     // gets a line for each refusal, without secrets; nil: nobody does
}
