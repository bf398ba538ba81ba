package ossemu

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestActions tries each operation in a session that may do just what the
// README's table says, and in one that may do all but that.
func TestActions(t *testing.T) {
	e := start(t)
	b := e.bucket(t)
	for _, k := range []string{"pid/k", "pid/other"} {
		if err := b.PutObject(k, strings.NewReader("hello")); err != nil {
			t.Fatal(err)
		}
	}
	imur, err := b.InitiateMultipartUpload("pid/k")
	if err != nil {
		t.Fatal(err)
	}
	const (
		bucket = "acs:oss:*:*:photos"
		key    = "acs:oss:*:*:photos/pid/k"
		source = "acs:oss:*:*:photos/pid/other"
		parted = "/photos/pid%2Fk?uploadId="
	)
	type right struct{ action, resource string }
	copyOf := []string{"X-Oss-Copy-Source", "/photos/pid%2Fother"}
	for _, try := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		rights                   []right
	}{
		{"PutObject", "PUT", "/photos/pid%2Fk", "hello", nil, 200, []right{{"PutObject", key}}},
		{"GetObject", "GET", "/photos/pid%2Fk", "", nil, 200, []right{{"GetObject", key}}},
		{"HeadObject", "HEAD", "/photos/pid%2Fk", "", nil, 200, []right{{"GetObject", key}}},
		{"GetObjectMeta", "HEAD", "/photos/pid%2Fk?objectMeta", "", nil, 200, []right{{"GetObject", key}}},
		{"CopyObject", "PUT", "/photos/pid%2Fk", "", copyOf, 200, []right{{"PutObject", key}, {"GetObject", source}}},
		{"AppendObject", "POST", "/photos/pid%2Fk?append&position=0", "x", nil, 501, []right{{"PutObject", key}}},
		{"GetObjectAcl", "GET", "/photos/pid%2Fk?acl", "", nil, 501, []right{{"GetObjectAcl", key}}},
		{"PutObjectAcl", "PUT", "/photos/pid%2Fk?acl", "", nil, 501, []right{{"PutObjectAcl", key}}},
		{"InitiateMultipartUpload", "POST", "/photos/pid%2Fk?uploads", "", nil, 200, []right{{"PutObject", key}}},
		{"UploadPart", "PUT", parted + imur.UploadID + "&partNumber=1", "hello", nil, 200, []right{{"PutObject", key}}},
		{"UploadPartCopy", "PUT", parted + imur.UploadID + "&partNumber=2", "", copyOf, 200, []right{{"PutObject", key}, {"GetObject", source}}},
		{"ListParts", "GET", parted + imur.UploadID, "", nil, 200, []right{{"ListParts", key}}},
		{"CompleteMultipartUpload", "POST", parted + imur.UploadID, "", nil, 400, []right{{"PutObject", key}}},
		{"ListMultipartUploads", "GET", "/photos/?uploads", "", nil, 200, []right{{"ListMultipartUploads", bucket}}},
		{"AbortMultipartUpload", "DELETE", parted + imur.UploadID, "", nil, 204, []right{{"AbortMultipartUpload", key}}},
		{"ListObjects", "GET", "/photos/", "", nil, 200, []right{{"ListObjects", bucket}}},
		{"ListObjectsV2", "GET", "/photos/?list-type=2", "", nil, 200, []right{{"ListObjects", bucket}}},
		{"GetBucketInfo", "GET", "/photos/?bucketInfo", "", nil, 200, []right{{"GetBucketInfo", bucket}}},
		{"GetBucketLocation", "GET", "/photos/?location", "", nil, 200, []right{{"GetBucketLocation", bucket}}},
		{"GetBucketAcl", "GET", "/photos/?acl", "", nil, 501, []right{{"GetBucketAcl", bucket}}},
		{"GetBucketCors", "GET", "/photos/?cors", "", nil, 200, []right{{"GetBucketCors", bucket}}},
		{"PutBucketCors", "PUT", "/photos/?cors", "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>PUT</AllowedMethod></CORSRule></CORSConfiguration>", nil, 200, []right{{"PutBucketCors", bucket}}},
		{"DeleteBucketCors", "DELETE", "/photos/?cors", "", nil, 204, []right{{"DeleteBucketCors", bucket}}},
		{"PutBucket", "PUT", "/photos/", "", nil, 200, []right{{"PutBucket", bucket}}},
		{"DeleteBucket", "DELETE", "/photos/", "", nil, 409, []right{{"DeleteBucket", bucket}}},
		{"ListBuckets", "GET", "/", "", nil, 200, []right{{"ListBuckets", "acs:oss:*:*:*"}}},
		{"DeleteMultipleObjects", "POST", "/photos/?delete", "<Delete><Object><Key>pid/k</Key></Object><Object><Key>pid/other</Key></Object></Delete>", nil, 200, []right{{"DeleteObject", key}, {"DeleteObject", source}}},
		{"DeleteObject", "DELETE", "/photos/pid%2Fk", "", nil, 204, []right{{"DeleteObject", key}}},
	} {
		t.Run(try.name, func(t *testing.T) {
			if i := strings.Index(try.body, "<Delete>"); i == 0 {
				try.header = []string{"Content-Md5", base64Of(md5Of(try.body))}
			}
			statement := func(effect, action, resource string) string {
				return `{"Effect":"` + effect + `","Action":["oss:` + action + `"],"Resource":["` + resource + `"]}`
			}
			policy := func(statements ...string) string {
				return `{"Version":"1","Statement":[` + strings.Join(statements, ",") + `]}`
			}
			// First what must be refused: what succeeds changes things.
			var allow []string
			for _, r := range try.rights {
				allow = append(allow, statement("Allow", r.action, r.resource))
				refused := policy(statement("Allow", "*", "*"), statement("Deny", r.action, r.resource))
				resp := e.sendIn(t, refused, try.method, try.path, try.body, try.header...)
				if resp.StatusCode != 403 {
					t.Errorf("without %s on %s: %s", r.action, r.resource, resp.Status)
				} else if try.method != "HEAD" {
					wantError(t, resp, 403, "AccessDenied")
				}
				if len(try.rights) > 1 {
					continue
				}
				elsewhere := policy(statement("Allow", r.action, r.resource+"x"), statement("Allow", r.action, "acs:oss:*:*:other/*"))
				if resp := e.sendIn(t, elsewhere, try.method, try.path, try.body, try.header...); resp.StatusCode != 403 && try.name != "ListBuckets" {
					t.Errorf("with %s elsewhere: %s", r.action, resp.Status)
				}
			}
			if resp := e.sendIn(t, policy(allow...), try.method, try.path, try.body, try.header...); resp.StatusCode != try.status {
				t.Errorf("with %v: %s %s", try.rights, resp.Status, text(t, resp.Body))
			}
		})
	}
}

// sendIn sends a request in a session with the policy.
func (e emulator) sendIn(t testing.TB, policy, method, path, body string, header ...string) *http.Response {
	t.Helper()
	id, secret, token := testSession(t, e.authority, time.Hour, policy)
	r, err := http.NewRequest(method, e.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	r.Header.Set("X-Oss-Security-Token", token)
	e.signWith(t, r, id, secret)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}
