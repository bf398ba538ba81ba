package graphql

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// TestHasImage: null means "upload it". The older documents call the argument
// sha1sum, the clients checksum: both are taken, two different values are an
// error. Hex in either case. The image is answered only when Uploaded or Ready.
func TestHasImage(t *testing.T) {
	f := open(t)
	pid := f.newProject(t, "North face")
	sum := sha1Of([]byte("a"))
	has := func(args string) reply {
		return f.ask(t, f.secret, `mutation{hasImage(pid:"`+pid+`",`+args+`){id state checksum}}`)
	}
	null := `{"data":{"hasImage":null}}` + "\n"
	if r := has(`checksum:"` + sum + `"`); r.body != null {
		t.Errorf("not registered: %s", r.body)
	}
	id, _ := f.newImage(t, pid, "a.jpg", sum)
	if r := has(`checksum:"` + sum + `"`); r.body != null {
		t.Errorf("Pending: %s", r.body)
	}
	f.ok(t, `mutation{startImageUpload(id:"`+id+`"){id}}`)
	if r := has(`checksum:"` + sum + `"`); r.body != null {
		t.Errorf("Uploading: %s", r.body)
	}
	f.see(t, id)
	for _, state := range []string{"Uploaded", "Ready"} {
		for _, args := range []string{
			`checksum:"` + sum + `"`, `sha1sum:"` + sum + `"`, `checksum:"` + strings.ToUpper(sum) + `"`, `checksum:"` + sum + `",sha1sum:"` + strings.ToUpper(sum) + `"`,
			`checksum:"",sha1sum:"` + sum + `"`, `checksum:null,sha1sum:"` + sum + `"`, `sha1sum:null,checksum:"` + sum + `"`,
		} {
			if got, want := has(args).json(t, "data.hasImage"), `{"checksum":"`+sum+`","id":"`+id+`","state":"`+state+`"}`; got != want {
				t.Errorf("%s: %s, want %s", args, got, want)
			}
		}
		if state == "Uploaded" {
			if err := f.verdict(t, f.record(t, id)); err != nil {
				t.Fatal(err)
			}
		}
	}
	bad, _ := f.newImage(t, pid, "b.jpg", sha1Of([]byte("b")))
	f.judge(t, bad, broker.Reasonf(broker.ReasonCorrupt, "no"))
	if r := has(`checksum:"` + sha1Of([]byte("b")) + `"`); r.body != null {
		t.Errorf("Invalid: %s", r.body)
	}
	for args, code := range map[string]broker.Code{
		`checksum:"` + sum + `",sha1sum:"` + sha1Of([]byte("b")) + `"`: broker.CodeInvalid,
		`checksum:""`:                 broker.CodeInvalidSHA1,
		`checksum:null`:               broker.CodeInvalidSHA1,
		`checksum:"12"`:               broker.CodeInvalidSHA1,
		`sha1sum:"zz` + sum[2:] + `"`: broker.CodeInvalidSHA1,
	} {
		if r := has(args); r.code() != code || r.status != http.StatusOK {
			t.Errorf("%s: %s", args, r.body)
		}
	}
	f.refused(t, broker.CodeNotFound, `mutation{hasImage(pid:"`+broker.NewID(time.Now())+`",checksum:"`+sum+`"){id}}`)
}

// TestImage: an image is found in its own project alone; what is unknown is null
// without an error. error is a list or null, checksum lower-case hex or null.
func TestImage(t *testing.T) {
	f := open(t)
	pid, otherPID := f.newProject(t, "North face"), f.newProject(t, "South face")
	id, _ := f.newImage(t, pid, "a.jpg", sha1Of([]byte("a")))
	f.judge(t, id, broker.Reasonf(broker.ReasonTruncated, "the scan ends after 1,204 of 2,250 rows"), broker.Reasonf(broker.ReasonSizeMismatch, "3 of 4"))
	nameless := f.ok(t, `mutation{uploadImageS3(pid:"`+pid+`",bucket:Local,filename:"B.JPG"){image{id checksum filename}}}`)
	if nameless.at(t, "data.uploadImageS3.image.checksum") != nil || !strings.HasSuffix(nameless.text(t, "data.uploadImageS3.image.filename"), ".jpg") {
		t.Errorf("without a sha1: %s", nameless.body)
	}
	r := f.ok(t, `{project(id:"`+pid+`"){image(id:"`+id+`"){state error checksum grounded}}}`)
	want := `{"checksum":"` + sha1Of([]byte("a")) + `","error":["truncated: the scan ends after 1,204 of 2,250 rows","size_mismatch: 3 of 4"],"grounded":false,"state":"Invalid"}`
	if got := r.json(t, "data.project.image"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, query := range []string{
		`{project(id:"` + otherPID + `"){image(id:"` + id + `"){id}}}`,
		`{project(id:"` + pid + `"){image(id:"` + broker.NewID(time.Now()) + `"){id}}}`,
		`{project(id:"` + pid + `"){image(id:""){id}}}`,
		`{project(id:"` + pid + `"){image(id:5){id}}}`,
	} {
		if r := f.ok(t, query); r.json(t, "data.project") != `{"image":null}` {
			t.Errorf("%s: %s", query, r.body)
		}
	}
}

// TestStartAndDone: both take the image's id alone, in any state, any number of
// times; another's image and one that does not exist are told alike.
func TestStartAndDone(t *testing.T) {
	f := open(t)
	pid := f.newProject(t, "North face")
	_, _, other := f.newOwner(t, "bob@example.com", "", broker.NewKey{})
	id, _ := f.newImage(t, pid, "a.jpg", sha1Of([]byte("a")))
	for _, c := range [][2]string{{"doneImageUpload", "Pending"}, {"startImageUpload", "Uploading"}, {"startImageUpload", "Uploading"}, {"doneImageUpload", "Uploading"}, {"doneImageUpload", "Uploading"}} {
		r := f.ok(t, `mutation{`+c[0]+`(id:"`+id+`"){id state name}}`)
		if r.json(t, "data."+c[0]) != `{"id":"`+id+`","name":"a.jpg","state":"`+c[1]+`"}` {
			t.Errorf("%v: %s", c, r.body)
		}
	}
	unknown := broker.NewID(time.Now())
	for _, call := range []string{"startImageUpload", "doneImageUpload"} {
		theirs := f.ask(t, other, `mutation{`+call+`(id:"`+id+`"){id}}`)
		none := f.ask(t, other, `mutation{`+call+`(id:"`+unknown+`"){id}}`)
		if theirs.code() != broker.CodeNotFound || strings.ReplaceAll(theirs.body, id, "") != strings.ReplaceAll(none.body, unknown, "") {
			t.Errorf("%s tells another's image apart: %s %s", call, theirs.body, none.body)
		}
		f.refused(t, broker.CodeNotFound, `mutation{`+call+`(id:"x"){id}}`)
	}
}

// urls knows two addresses.
type urls struct{}

func (urls) Check(raw string) (string, error) {
	if strings.Contains(raw, "127.0.0.1") {
		return "", broker.Errorf(broker.CodeNotAllowed, "this address may not be fetched")
	}
	return strings.Replace(raw, "80//", "80/", 1), nil
}

// TestUploadImageURL: the image is registered and begun; an address that may not
// be fetched is refused at once; filename may be left out.
func TestUploadImageURL(t *testing.T) {
	f := open(t)
	pid := f.newProject(t, "North face")
	upload := func(args string) string {
		return `mutation{uploadImageURL(pid:"` + pid + `",` + args + `){id state name checksum}}`
	}
	f.refused(t, broker.CodeNotSupported, upload(`url:"http://example.com/a.jpg"`))
	f.images.URLs = urls{}
	sum := sha1Of([]byte("a"))
	r := f.ok(t, upload(`url:"http://example.com:80//100MEDIA/DJI.JPG?x=1",checksum:"`+strings.ToUpper(sum)+`"`))
	if r.text(t, "data.uploadImageURL.name") != "DJI.JPG" || r.text(t, "data.uploadImageURL.state") != "Uploading" || r.text(t, "data.uploadImageURL.checksum") != sum {
		t.Errorf("registered %s", r.body)
	}
	if r := f.ok(t, upload(`url:"http://example.com/x",filename:"own.jpg"`)); r.text(t, "data.uploadImageURL.name") != "own.jpg" {
		t.Errorf("registered %s", r.body)
	}
	if r := f.ok(t, upload(`url:"http://example.com/x.jpg",filename:""`)); r.text(t, "data.uploadImageURL.name") != "x.jpg" {
		t.Errorf("registered %s", r.body)
	}
	f.refused(t, broker.CodeNotAllowed, upload(`url:"http://127.0.0.1/x.jpg"`))
	f.refused(t, broker.CodeInvalidSHA1, upload(`url:"http://example.com/x.jpg",checksum:"12"`))
}
