package main

import (
	"errors"
	"net/http"
	"os"
	"regexp"
	"testing"

	"github.com/aliyun/aliyun-oss-go-sdk/oss"
)

// goSDK is the aliyun-oss-go-sdk with one session.
type goSDK struct {
	client *oss.Client
	bucket *oss.Bucket
}

// tamperer changes signatures on their way.
type tamperer struct{ http.RoundTripper }

var signatureStart = regexp.MustCompile(`^(OSS [^:]+:|.*Signature=)(.)`)

func (t tamperer) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	header := req.Header.Get("Authorization")
	m := signatureStart.FindStringSubmatchIndex(header)
	if m == nil {
		return nil, errors.New("no signature to tamper with")
	}
	other := "a"
	if header[m[4]:m[5]] == other {
		other = "b"
	}
	req.Header.Set("Authorization", header[:m[4]]+other+header[m[5]:])
	return t.RoundTripper.RoundTrip(req)
}

func openGoSDK(endpoint string, v4 bool, step ossStep, transport http.RoundTripper) (goSDK, error) {
	if step.Tamper {
		transport = tamperer{transport}
	}
	options := []oss.ClientOption{oss.SecurityToken(step.Session.Token), oss.HTTPClient(&http.Client{Transport: transport})}
	if v4 {
		options = append(options, oss.AuthVersion(oss.AuthV4), oss.Region(ossRegion))
	}
	client, err := oss.New(endpoint, step.Session.ID, step.Session.Secret, options...)
	if err != nil {
		return goSDK{}, err
	}
	bucket, err := client.Bucket(ossBucket)
	return goSDK{client, bucket}, err
}

func runGoSDK(t *testing.T, endpoint string, v4 bool, steps []ossStep) (answers []ossAnswer) {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for _, step := range steps {
		sdk, err := openGoSDK(endpoint, v4, step, transport)
		if err != nil {
			t.Fatal(err)
		}
		do, ok := goSteps[step.Do]
		if !ok {
			t.Fatalf("the Go SDK has no step %s", step.Do)
		}
		answer := ossAnswer{OK: true, Status: http.StatusOK}
		if err := do(sdk, step); err != nil {
			answer = ossAnswer{Code: "failed", Message: err.Error()}
			var refusal oss.ServiceError
			if errors.As(err, &refusal) {
				answer = ossAnswer{Status: refusal.StatusCode, Code: refusal.Code, Message: refusal.Message}
			}
		}
		answers = append(answers, answer)
	}
	return answers
}

// failed is the error of a call whose result nobody needs.
func failed[T any](_ T, err error) error { return err }

var goSteps = map[string]func(goSDK, ossStep) error{
	"put": func(s goSDK, step ossStep) error { return s.bucket.PutObjectFromFile(step.Key, step.File) },
	"multipart": func(s goSDK, step ossStep) error {
		return s.bucket.UploadFile(step.Key, step.File, ossPartSize, oss.Routines(4))
	},
	"initiate":        func(s goSDK, step ossStep) error { return failed(s.bucket.InitiateMultipartUpload(step.Key)) },
	"multipart-abort": goSDK.beginAndAbort,
	"put-url": func(s goSDK, step ossStep) error {
		url, err := s.bucket.SignURL(step.Key, oss.HTTPPut, 3600, oss.ContentType("image/jpeg"))
		if err != nil {
			return err
		}
		return s.bucket.PutObjectFromFileWithURL(url, step.File, oss.ContentType("image/jpeg"))
	},
	"append": func(s goSDK, step ossStep) error {
		f, err := os.Open(step.File)
		if err != nil {
			return err
		}
		defer f.Close()
		return failed(s.bucket.AppendObject(step.Key, f, 0))
	},

	"get": func(s goSDK, step ossStep) error {
		body, err := s.bucket.GetObject(step.Key)
		if err == nil {
			_ = body.Close()
		}
		return err
	},
	"get-url": func(s goSDK, step ossStep) error {
		url, err := s.bucket.SignURL(step.Key, oss.HTTPGet, 3600)
		if err != nil {
			return err
		}
		body, err := s.bucket.GetObjectWithURL(url)
		if err == nil {
			_ = body.Close()
		}
		return err
	},
	"head": func(s goSDK, step ossStep) error { return failed(s.bucket.GetObjectDetailedMeta(step.Key)) },
	"meta": func(s goSDK, step ossStep) error { return failed(s.bucket.GetObjectMeta(step.Key)) },
	"acl":  func(s goSDK, step ossStep) error { return failed(s.bucket.GetObjectACL(step.Key)) },
	"list": func(s goSDK, step ossStep) error {
		return failed(s.bucket.ListObjects(oss.Prefix(step.Key), oss.MaxKeys(10)))
	},
	"list-v2": func(s goSDK, step ossStep) error {
		return failed(s.bucket.ListObjectsV2(oss.Prefix(step.Key), oss.MaxKeys(10)))
	},
	"list-uploads": func(s goSDK, _ ossStep) error { return failed(s.bucket.ListMultipartUploads()) },

	"delete":      func(s goSDK, step ossStep) error { return s.bucket.DeleteObject(step.Key) },
	"delete-many": func(s goSDK, step ossStep) error { return failed(s.bucket.DeleteObjects([]string{step.Key})) },
	"copy":        func(s goSDK, step ossStep) error { return failed(s.bucket.CopyObject(step.From, step.Key)) },
	"copy-part": func(s goSDK, step ossStep) (err error) {
		upload, err := s.bucket.InitiateMultipartUpload(step.Key)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.bucket.AbortMultipartUpload(upload)) }()
		return failed(s.bucket.UploadPartCopy(upload, ossBucket, step.From, 0, ossPartSize, 1))
	},
	"part-beside": func(s goSDK, step ossStep) (err error) {
		upload, err := s.bucket.InitiateMultipartUpload(step.From)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.bucket.AbortMultipartUpload(upload)) }()
		beside := upload
		beside.Key = step.Key
		return failed(s.bucket.UploadPartFromFile(beside, step.File, 0, ossPartSize, 1))
	},
	"put-acl": func(s goSDK, step ossStep) error { return s.bucket.SetObjectACL(step.Key, oss.ACLPublicRead) },

	"bucket-info":     func(s goSDK, _ ossStep) error { return failed(s.client.GetBucketInfo(ossBucket)) },
	"bucket-location": func(s goSDK, _ ossStep) error { return failed(s.client.GetBucketLocation(ossBucket)) },
	"bucket-acl":      func(s goSDK, _ ossStep) error { return failed(s.client.GetBucketACL(ossBucket)) },
	"bucket-put-acl":  func(s goSDK, _ ossStep) error { return s.client.SetBucketACL(ossBucket, oss.ACLPublicReadWrite) },
	"bucket-cors":     func(s goSDK, _ ossStep) error { return failed(s.client.GetBucketCORS(ossBucket)) },
	"bucket-put-cors": func(s goSDK, _ ossStep) error {
		return s.client.SetBucketCORS(ossBucket, []oss.CORSRule{
			{AllowedOrigin: []string{"*"}, AllowedMethod: []string{"PUT", "DELETE"}, AllowedHeader: []string{"*"}},
		})
	},
	"bucket-delete-cors": func(s goSDK, _ ossStep) error { return s.client.DeleteBucketCORS(ossBucket) },
	"bucket-delete":      func(s goSDK, _ ossStep) error { return s.client.DeleteBucket(ossBucket) },
	"buckets":            func(s goSDK, _ ossStep) error { return failed(s.client.ListBuckets()) },
}

func (s goSDK) beginAndAbort(step ossStep) error {
	upload, err := s.bucket.InitiateMultipartUpload(step.Key)
	if err != nil {
		return err
	}
	if _, err := s.bucket.UploadPartFromFile(upload, step.File, 0, ossPartSize, 1); err != nil {
		return err
	}
	listed, err := s.bucket.ListUploadedParts(upload)
	if err != nil {
		return err
	}
	if len(listed.UploadedParts) != 1 {
		return errors.New("not one part is listed, as was sent")
	}
	return s.bucket.AbortMultipartUpload(upload)
}
