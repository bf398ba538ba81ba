// Package storage reaches the buckets that hold uploaded files.
//
// Bucket is the portable type that the rest of the program uses: it checks keys,
// clamps how long a grant may live, wraps errors once and reports each operation
// to an Observer. It stands over a Driver, which is all that a cloud must do:
// six methods that return their SDK's raw errors. What only some clouds can do
// is an optional interface (PutSigner, Sessioner, GetSigner, Copier, Prober,
// Syncer, MultipartAborter, Cleaner), asserted once in New. Package storagetest is
// the suite that every driver passes; storage/s3, storage/oss and storage/local are
// drivers.
//
// A cloud's sessions are dear: Bucket asks for one a prefix, shares it among all
// who want one, and renews it at half of its life.
//
// Some clones of S3 ignore the checksums and sizes that a grant binds. Probe
// finds them out by using grants wrongly; grants of a bucket that is not known
// to hold them are marked unbound, so that nobody relies on the bucket where the
// validation alone finds other bytes.
//
// The package itself holds no credentials and opens no connection; each
// driver's documentation lists the permissions that it needs. It writes to a
// bucket only in Put, Copy, Delete, AbortMultipart, SweepMultiparts and Clean, and
// in Probe, which puts and deletes a few small objects below "uploadbroker-probe/".
package storage
