// Package client talks to an uploadbroker server and uploads folders to it.
//
// A Client has a method for each call of the REST API under /v1. All of them
// take a context, retry what is worth retrying, and return *Error for what the
// server refused. Upload and Plan, built on those calls, move whole folders:
// they hash the files, ask the server for grants in batches, send the bytes
// straight to the bucket, and wait for the verdicts.
//
// A Grant is the right to write one object in a bucket for a while. It comes in
// two kinds. A presigned request is sent as it stands, with the file as its body:
//
//	req, err := http.NewRequestWithContext(ctx, grant.Method, grant.URL, file)
//	req.ContentLength = size
//	for name, value := range grant.Headers {
//		req.Header.Set(name, value)
//	}
//
// With a session, which buckets at Aliyun OSS give, the request is made in the same
// way, and then signed by its holder, as often as it is sent:
//
//	grant.Session.Sign(req, time.Now())
//
// (Content-Length among the headers is for comparing: net/http sets its own.) A
// bucket usually refuses other bytes than a presigned request was made for, but
// never those of a session: compare the CRC-64 that it answers. Upload does all of
// this, renews grants before they end, and goes by the bucket's clock where this
// machine's is wrong. WithGrants asks for one kind.
//
// Permissions: listing and checking need a key with the scope read, uploading
// needs upload, making, removing and restoring need manage.
//
// Side effects: Upload and Plan keep the SHA-1 of files that they have read in
// the user's cache folder (see HashCache); nothing else is written to disk. The
// key is sent to the server only, never to a bucket, and appears in no error;
// neither do signed URLs, nor anything of a session. A session's token goes to its
// bucket only: redirects are not followed with it.
//
// The package imports the standard library only, so it can be used in other
// programs without a further dependency.
package client
