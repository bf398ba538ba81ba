// Package local is a bucket on the local disk that speaks real S3: versitygw's
// embedded gateway over a folder, on a unix socket, used through the driver of
// package s3. What runs against it by default is the code that runs against a
// cloud.
//
// Open starts the gateway, Gateway.Bucket gives a driver for one S3 bucket, and
// Bucket.Handler the HTTP handler by which clients use URLs that the driver
// signed. Signed URLs begin with "/<bucket>/": they are signed for a fixed
// internal host name that the handler restores, so a signature does not depend
// on the name or port by which a client reached the program.
//
// Permissions: read and write on the folder (Options.Dir), on the metadata
// folder beside it (Dir + "-meta", made only where the file system has no user
// extended attributes), on the key file, and on a temporary folder. Any user can
// run it. Objects are files of mode 0600 in folders of mode 0700.
//
// Side effects: one goroutine with the gateway until Close; a folder
// uploadbroker-s3-* in the temporary folder, which Close removes, and which the
// next start removes when a process was killed; a file .uploadbroker-format and
// versitygw's own folders .vgwlocks and .sgwtmp in Dir. The process's working
// directory stays as it is, though versitygw changes it: see start.go. Only one
// gateway can run in a process at a time; any number of processes can open the
// same folder, each through a gateway of its own with the same credentials.
//
// A full disk: uploads leave 5 % of the disk free, 256 MiB at most, for the
// database that is often beside them. One that would not is answered 507
// InsufficientStorage, stores nothing, and works again once space is freed.
//
// Limits that the file system sets: no object "a" beside one "a/b" (CodeConflict),
// no segment of a key over 255 bytes (CodeInvalid), none that begins or ends like
// the gateway's own temporary files. Objects have no versions.
package local
