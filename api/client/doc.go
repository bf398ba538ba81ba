// Package client talks to an uploadbroker server and uploads folders to it.
//
// A Client has a method for each call of the REST API under /v1. All of them
// take a context, retry what is worth retrying, and return *Error for what the
// server refused. Upload and Plan, built on those calls, move whole folders:
// they hash the files, ask the server for grants in batches, send the bytes
// straight to the bucket, and wait for the verdicts.
//
// Permissions: listing and checking need a key with the scope read, uploading
// needs upload, making, removing and restoring need manage.
//
// Side effects: Upload and Plan keep the SHA-1 of files that they have read in
// the user's cache folder (see HashCache); nothing else is written to disk. The
// key is sent to the server only, never to a bucket, and appears in no error;
// neither do signed URLs.
//
// The package imports the standard library only, so it can be used in other
// programs without a further dependency.
package client
