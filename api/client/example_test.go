package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

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
