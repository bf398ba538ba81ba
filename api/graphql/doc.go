// Package graphql is the GraphQL face: POST /graphql, for clients written years
// ago against the Altizure API, which work here by changing the endpoint. They are
// not changed, so the contract (schema/schema.graphql) holds to the letter.
//
// # A client's way
//
//	{ getGeoIPInfo { nearestBuckets { bucket cloud } } }
//	mutation { createProject(name: "North face") { id } }
//	mutation { hasImage(pid: "…", checksum: "…") { id } }          # null: upload it
//	mutation { uploadImageS3(pid: "…", bucket: Local, filename: "DJI_0001.JPG", checksum: "…") { url image { id } } }
//	mutation { startImageUpload(id: "…") { state } }
//	PUT url                                                        # 200
//	{ project(id: "…") { image(id: "…") { state error } } }        # until Ready or Invalid
//
// The header altitoken, or Authorization: Bearer, carries the user's key; the
// header key names the app and is no secret. A key that is not good is nobody's:
// my is null, public fields answer, the rest says unauthenticated.
//
// # Requests and answers
//
// JSON under any content type, a form (query, variables, operationName) of either
// kind, the query itself as application/graphql, or ?query= by GET, which runs no
// mutation. Every answer is JSON. It is 200 whatever GraphQL says, for old clients
// read errors[0].message of the body: only a request that is none has another
// status, and what is worth trying again (503, and 429 for a sole error) comes
// with Retry-After. Each error has its broker.Code in extensions.code; causes that
// are ours are in the log under the request's id.
//
// # Limits
//
// A body has 1 MiB, a document 20,000 words, 1,500 fields with fragments put in,
// 20 levels, and one field at most about 100 times at one place; all of this is
// known before it is validated. Then its cost is counted, lists by the size that
// was asked for: a page of 1,000 images with their links passes three times over,
// lists within lists of 1,000 don't. Pages hold up to 1,000 entries.
//
// # Buckets
//
// The enums BucketS3, BucketOSS and BucketMinio have the operator's buckets for
// members. They are put into a fresh schema at start and by Face.Reload.
//
// # Code
//
// Package schema holds the SDL and what gqlgen generates from it by make generate.
// Here: the transport (transport.go, request.go, text.go), the limits (limits.go),
// the resolvers (projects.go, images.go, uploads.go, owner.go, tasks.go,
// support.go), which hold no rule, and the page at GET /graphql on which people try
// queries (page.go, page/).
//
// It needs no permission of its own and has no side effect but the calls of
// package broker that it is asked for.
package graphql
