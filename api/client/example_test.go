package client_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc64"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/uploadbroker/uploadbroker/api/client"
	"github.com/uploadbroker/uploadbroker/api/client/clienttest"
)

// A folder goes into a project; the second time nothing is sent.
func ExampleClient_Upload() {
	server := clienttest.New() // in place of a real one
	defer server.Close()
	dir, err := os.MkdirTemp("", "photos")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{"DJI_0001.JPG", "DJI_0002.JPG"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("\xff\xd8\xff picture of "+name), 0o600); err != nil {
			log.Fatal(err)
		}
	}

	ctx := context.Background()
	c, err := client.New(server.URL, clienttest.Key)
	if err != nil {
		log.Fatal(err)
	}
	project, _, err := c.ProjectNamed(ctx, "roof", client.KindRecon)
	if err != nil {
		log.Fatal(err)
	}
	list, err := client.Scan(ctx, dir, client.ScanOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		report, err := c.Upload(ctx, project.ID, list.Files, client.UploadOptions{NoCache: true})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d Ready, %d bytes sent, %d were there already\n", report.Ready(), report.BytesSent, report.Existed())
	}
	// Output:
	// 2 Ready, 54 bytes sent, 0 were there already
	// 2 Ready, 0 bytes sent, 2 were there already
}

// A grant of kind session is signed by its holder. Register and Regrant give them
// for buckets at Aliyun OSS.
func ExampleSession_Sign() {
	grant := client.Grant{
		Kind: client.GrantSession, Method: http.MethodPut, Bucket: "Hangzhou",
		URL: "https://photos.oss-cn-hangzhou.aliyuncs.com/01J00000000000000000000000/da39a3ee.jpg",
		Session: &client.Session{
			ID: "STS.NExample", Secret: "secret", Token: "token",
			Endpoint: "https://oss-cn-hangzhou.aliyuncs.com", Bucket: "photos", Region: "cn-hangzhou",
			Key: "01J00000000000000000000000/da39a3ee.jpg",
		},
	}
	photo := "\xff\xd8\xff a picture"
	req, err := http.NewRequest(grant.Method, grant.URL, strings.NewReader(photo)) // knows its length
	if err != nil {
		log.Fatal(err)
	}
	req.Header.Set("Content-Type", "image/jpeg")
	grant.Session.Sign(req, time.Date(2026, 11, 21, 10, 30, 0, 0, time.UTC)) // time.Now()
	fmt.Println(req.Header.Get("X-Oss-Date"))
	fmt.Println(strings.Split(req.Header.Get("Authorization"), ",Signature=")[0])
	// After sending it, compare the answer's x-oss-hash-crc64ecma with:
	fmt.Println(crc64.Checksum([]byte(photo), crc64.MakeTable(crc64.ECMA)))
	fmt.Println(grant.Session)
	// Output:
	// 20261121T103000Z
	// OSS4-HMAC-SHA256 Credential=STS.NExample/20261121/cn-hangzhou/oss/aliyun_v4_request,AdditionalHeaders=content-length
	// 9531285246267957731
	// session for photos/01J00000000000000000000000/da39a3ee.jpg at https://oss-cn-hangzhou.aliyuncs.com
}

// Errors of the server have a stable code.
func ExampleError() {
	server := clienttest.New()
	defer server.Close()
	c, err := client.New(server.URL, clienttest.Key)
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.Project(context.Background(), "01J00000000000000000000000")
	var e *client.Error
	if errors.As(err, &e) {
		fmt.Println(e.HTTPStatus, e.Code)
	}
	// Output: 404 not_found
}
