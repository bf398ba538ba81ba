package s3

// What MinIO does otherwise than S3, and Options.MinIO mends (seen with the
// release of 2026-02; the tests run against a real server):
//
//   - It heeds x-amz-copy-source on a presigned PUT that was not signed for it, and
//     then copies any object that the signing credentials may read to the granted
//     key, instead of storing the body under its checksum. S3 refuses x-amz-*
//     headers that were not signed. See guardCopySource.
//   - It lists unfinished uploads either of one exact key or of the whole bucket,
//     never below a prefix. See ListMultiparts.

// guardCopySource signs x-amz-copy-source as an empty header, and says so in the
// query: MinIO reads a signed header that is not sent from there. When one is
// sent the signature no longer fits. S3 itself would miss the header. The names
// and lines stay in the order of the alphabet, as its neighbours are
// x-amz-checksum-sha1 and x-id.
func guardCopySource(names, headers []byte, query string) (_, _ []byte, _ string) {
	names = append(names, "%3Bx-amz-copy-source"...)
	headers = append(headers, "x-amz-copy-source:\n"...)
	return names, headers, "&x-amz-copy-source=" + query
}
