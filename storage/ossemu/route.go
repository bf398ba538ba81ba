package ossemu

import (
	"net/http"
	"strings"
)

// operation is one of OSS's calls.
type operation struct {
	name   string                      // as OSS's documentation has it
	action string                      // that a policy must allow; "": oss:<name>
	do     func(*Server, *call) *fault // nil: the emulator has none
}

// allowed checks the action on what the request names. Copies check their
// source, and DeleteMultipleObjects its keys, when they know them.
func (o operation) allowed(c *call) *fault {
	if o.action == unchecked {
		return nil
	}
	action := o.action
	if action == "" {
		action = "oss:" + o.name
	}
	return c.who.may(action, resource(c.place))
}

// unchecked marks the operation that checks each key in its body.
const unchecked = "-"

// findOperation tells what a request wants by its method, its sub-resources and
// x-oss-copy-source.
func findOperation(c *call) (operation, *fault) {
	var op operation
	var ok bool
	switch {
	case c.place.bucket == "":
		op, ok = serviceOperation(c)
	case c.key == "":
		op, ok = bucketOperation(c)
	default:
		op, ok = objectOperation(c)
	}
	if !ok {
		return op, &fault{status: 405, code: "MethodNotAllowed", message: "The specified method is not allowed against this resource.", more: [][2]string{{"Method", c.r.Method}}}
	}
	return op, nil
}

func (c *call) has(sub string) bool { return c.query.Has(sub) }

func serviceOperation(c *call) (operation, bool) {
	if c.r.Method == http.MethodGet {
		return operation{name: "ListBuckets", do: (*Server).listBuckets}, true
	}
	return operation{}, false
}

func objectOperation(c *call) (operation, bool) {
	if op, ok := missingOperation(c, "Object", objectSubresources); ok {
		return op, true
	}
	const put = "oss:PutObject"
	isCopy := c.r.Header.Get("X-Oss-Copy-Source") != ""
	switch c.r.Method {
	case http.MethodPut:
		switch {
		case c.has("uploadId") && isCopy:
			return operation{name: "UploadPartCopy", action: put, do: (*Server).uploadPartCopy}, true
		case c.has("uploadId") || c.has("partNumber"):
			return operation{name: "UploadPart", action: put, do: (*Server).uploadPart}, true
		case isCopy:
			return operation{name: "CopyObject", action: put, do: (*Server).copyObject}, true
		}
		return operation{name: "PutObject", do: (*Server).putObject}, true
	case http.MethodPost:
		switch {
		case c.has("append"):
			return operation{name: "AppendObject", action: put}, true
		case c.has("uploads"):
			return operation{name: "InitiateMultipartUpload", action: put, do: (*Server).initiate}, true
		case c.has("uploadId"):
			return operation{name: "CompleteMultipartUpload", action: put, do: (*Server).complete}, true
		}
		return operation{name: "PostObject", action: put}, true
	case http.MethodGet:
		if c.has("uploadId") {
			return operation{name: "ListParts", do: (*Server).listParts}, true
		}
		return operation{name: "GetObject", do: (*Server).getObject}, true
	case http.MethodHead:
		return operation{name: "HeadObject", action: "oss:GetObject", do: (*Server).getObject}, true
	case http.MethodDelete:
		if c.has("uploadId") {
			return operation{name: "AbortMultipartUpload", do: (*Server).abort}, true
		}
		return operation{name: "DeleteObject", do: (*Server).deleteObject}, true
	}
	return operation{}, false
}

func bucketOperation(c *call) (operation, bool) {
	switch {
	case c.has("cors"):
		switch c.r.Method {
		case http.MethodGet:
			return operation{name: "GetBucketCors", do: (*Server).getCORS}, true
		case http.MethodPut:
			return operation{name: "PutBucketCors", do: (*Server).putCORS}, true
		case http.MethodDelete:
			return operation{name: "DeleteBucketCors", do: (*Server).deleteCORS}, true
		}
	case c.r.Method == http.MethodPost && c.has("delete"):
		return operation{name: "DeleteMultipleObjects", action: unchecked, do: (*Server).deleteObjects}, true
	case c.r.Method == http.MethodGet && c.has("bucketInfo"):
		return operation{name: "GetBucketInfo", do: (*Server).getBucketInfo}, true
	case c.r.Method == http.MethodGet && c.has("location"):
		return operation{name: "GetBucketLocation", do: (*Server).getBucketLocation}, true
	case c.r.Method == http.MethodGet && c.has("uploads"):
		return operation{name: "ListMultipartUploads", do: (*Server).listUploads}, true
	}
	if op, ok := missingOperation(c, "Bucket", bucketSubresources); ok {
		return op, true
	}
	switch c.r.Method {
	case http.MethodGet:
		return operation{name: "ListObjects", do: (*Server).listObjects}, true
	case http.MethodPut:
		return operation{name: "PutBucket", do: (*Server).putBucket}, true
	case http.MethodDelete:
		return operation{name: "DeleteBucket", do: (*Server).deleteBucket}, true
	case http.MethodHead:
		return operation{name: "HeadBucket", action: "oss:GetBucketInfo", do: (*Server).headBucket}, true
	case http.MethodPost:
		return operation{name: "PostObject", action: "oss:PutObject"}, true
	}
	return operation{}, false
}

// What the real one has and the emulator has not, so that a request for it is
// not taken for one for the object itself.
const (
	objectSubresources = "acl tagging symlink restore x-oss-process x-oss-async-process live vod versions metaQuery select asyncFetch"
	bucketSubresources = "acl lifecycle website referer logging versioning versions policy encryption tagging stat " +
		"qos qosInfo replication replicationProgress replicationLocation inventory worm requestPayment " +
		"transferAcceleration cname live vod resourceGroup rtc accessmonitor metaQuery policyStatus httpsConfig " +
		"overwriteConfig publicAccessBlock style responseHeader"
)

func missingOperation(c *call, of, subresources string) (operation, bool) {
	for _, sub := range strings.Fields(subresources) {
		if !c.has(sub) {
			continue
		}
		verb := map[string]string{"GET": "Get", "HEAD": "Get", "PUT": "Put", "POST": "Put", "DELETE": "Delete"}[c.r.Method]
		return operation{name: verb + of + strings.ToUpper(sub[:1]) + sub[1:]}, verb != ""
	}
	return operation{}, false
}
