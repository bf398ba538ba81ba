// Package s3 is the storage driver for Amazon S3 and what speaks its protocol:
// MinIO, Ceph, R2, versitygw.
//
// Permissions that its credentials need, on the bucket: s3:ListBucket (without
// it S3 answers 403 instead of 404 for a missing key, which reads as denied) and
// s3:ListBucketMultipartUploads; on its objects: s3:GetObject, s3:PutObject,
// s3:DeleteObject, s3:AbortMultipartUpload, and s3:GetObjectVersion where links
// name versions. Presigned requests carry the rights of the same credentials, so
// a broker that only hands out grants and looks needs no more than
// s3:ListBucket, s3:GetObject and s3:PutObject.
//
// Put holds at most one part (8 MiB by default) of an object in memory and sends
// what is longer as a multipart upload, which it aborts on an error. It creates
// no bucket and no lifecycle rule.
//
// Without a key of their own the credentials come from the SDK's chain, and are
// asked for anew in their last 15 minutes. A grant ends with the credentials that
// sign it; those of an instance's role the SDK takes for good for an hour at most.
//
// Grants are signed by a presigner of our own (sign.go), proven equal to the
// SDK's in tests and about twenty times as fast.
package s3
