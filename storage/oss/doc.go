// Package oss is the storage driver for Aliyun OSS, with sessions from its STS.
//
// Permissions that the broker's own RAM user (or role) needs:
//
//	oss:ListObjects, oss:ListMultipartUploads  on acs:oss:*:*:BUCKET
//	oss:GetObject, oss:PutObject, oss:DeleteObject, oss:AbortMultipartUpload,
//	and oss:GetObjectVersion where links name versions
//	                                           on acs:oss:*:*:BUCKET/*
//	sts:AssumeRole                             on the role's ARN
//
// Without oss:ListObjects a missing key answers 403, which reads as denied. The
// role that sessions assume needs oss:PutObject, oss:AbortMultipartUpload and
// oss:ListParts on acs:oss:*:*:BUCKET/*, must name the broker's user as trusted,
// and gives sessions as long as its MaxSessionDuration. What a session may do is
// the role's rights cut down to one prefix by policy.go. An account's root key
// can't assume roles. Presigned requests carry the rights of the broker's own
// credentials.
//
// Put holds at most one part (8 MiB by default) of an object in memory and sends
// what is longer as a multipart upload, which it aborts on an error. Copy reads
// the source's description first. Session makes an identity at the cloud that
// can't be called back: it lives until it ends. Nothing else is written; no
// bucket, rule or policy is created.
//
// What to know of OSS:
//
//   - It binds no SHA-1: a presigned PUT holds the key, the exact size and the
//     content type, so other bytes of the same size are taken. There is no Prober.
//   - A Content-Type or Content-MD5 header that was not signed, as any x-oss-*
//     header, makes a presigned request fail. A request that binds no content type
//     must be sent without one.
//   - A session may overwrite what lies below its prefix, and OSS documents no
//     separate right for an x-oss-object-acl beside a PUT: block public access on
//     the bucket.
//   - Put's IfAbsent is x-oss-forbid-overwrite, which OSS ignores in a bucket with
//     versions.
//   - Keys have 1,023 bytes at most, one less than S3's.
//   - A name of a region that ends in "-internal" is for the broker alone: clients
//     are given the public one.
//   - A bucket in the path is refused by Aliyun's own hosts; PathStyle and
//     addresses in numbers are for emulators and gateways.
//   - The environment variable DEBUG=sdk makes Aliyun's SDK print requests to STS,
//     signatures included.
//
// Without a key of their own the credentials come from the environment
// (ALIBABA_CLOUD_ACCESS_KEY_ID, …_SECRET, …_SECURITY_TOKEN), then from what
// Aliyun's SDK offers: OIDC, the profiles of the CLI and of the SDK, the instance's
// RAM role, a credentials URI. Those that end are asked for anew in their last 15
// minutes, and grants end with them; of a token that the environment or a profile
// gives no end is known. With a key, none of these is read.
package oss
