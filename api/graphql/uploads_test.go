package graphql

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// TestUpload: clients register, start, PUT, and NEVER call doneImageUpload: the
// server sees the object by itself. The PUT must answer exactly 200, with whatever
// content type; clients poll project{image{state}} until exactly Ready or Invalid.
func TestUpload(t *testing.T) {
	f := open(t)
	f.work(t)
	pid := f.newProject(t, "North face")
	for _, m := range []struct{ mutation, bucket string }{{"uploadImageS3", "Local"}, {"uploadImageMinio", "Office"}} {
		content := photo(t, uint8(len(m.bucket)))
		r := f.ok(t, `mutation{`+m.mutation+`(pid:"`+pid+`",bucket:`+m.bucket+`,filename:"100MEDIA/DJI_0001.JPG",type:JPEG,checksum:"`+
			strings.ToUpper(sha1Of(content))+`"){url image{id state name filename checksum error grounded url}}}`)
		id, link := r.text(t, "data."+m.mutation+".image.id"), r.text(t, "data."+m.mutation+".url")
		want := `{"checksum":"` + sha1Of(content) + `","error":null,"filename":"` + sha1Of(content) + `.jpg","grounded":false,"id":"` + id +
			`","name":"100MEDIA/DJI_0001.JPG","state":"Pending","url":null}`
		if got := r.json(t, "data."+m.mutation+".image"); got != want {
			t.Errorf("registered %s, want %s", got, want)
		}
		// Scripts cut the URL out of the text.
		if !strings.Contains(r.body, `"url":"`+link+`"`) || !strings.Contains(link, "&X-Amz-") || !strings.HasPrefix(link, f.URL+"/") {
			t.Errorf("the URL in the text is not the URL: %s", r.body)
		}
		for range 2 { // start is tried up to five times: safe to repeat
			if s := f.ok(t, `mutation{startImageUpload(id:"`+id+`"){id state}}`).text(t, "data.startImageUpload.state"); s != "Uploading" {
				t.Errorf("after start it is %s", s)
			}
		}
		for range 2 { // the PUT is tried up to five times with the same URL
			if status := f.put(t, link, content); status != http.StatusOK {
				t.Fatalf("the PUT answers %d", status)
			}
		}
		if s := f.settle(t, pid, id); s != "Ready" {
			t.Fatalf("it is %s\n%s", s, f.log)
		}
		// Start and done after the end, and done twice: no error, and no move.
		for _, call := range []string{"startImageUpload", "doneImageUpload", "doneImageUpload"} {
			if s := f.ok(t, `mutation{`+call+`(id:"`+id+`"){state}}`).text(t, "data."+call+".state"); s != "Ready" {
				t.Errorf("%s makes it %s", call, s)
			}
		}
	}
}

// TestBadPhoto: Invalid ends the polling too, and error is a list of reasons.
func TestBadPhoto(t *testing.T) {
	f := open(t)
	f.work(t)
	pid := f.newProject(t, "North face")
	cut := photo(t, 9)
	cut = cut[:len(cut)/2]
	id, link := f.newImage(t, pid, "cut.jpg", sha1Of(cut))
	if status := f.put(t, link, cut); status != http.StatusOK {
		t.Fatalf("the PUT answers %d", status)
	}
	if s := f.settle(t, pid, id); s != "Invalid" {
		t.Fatalf("half a photo is %s", s)
	}
	r := f.ok(t, `{project(id:"`+pid+`"){image(id:"`+id+`"){error url}}}`)
	if list, ok := r.at(t, "data.project.image.error").([]any); !ok || len(list) != 1 || !strings.HasPrefix(list[0].(string), "truncated: ") {
		t.Errorf("the reasons are %s", r.body)
	}
	if r.at(t, "data.project.image.url") != nil {
		t.Errorf("an Invalid image has a link: %s", r.body)
	}
	// Registering begins a further attempt with a key of its own.
	again, second := f.newImage(t, pid, "cut.jpg", sha1Of(cut))
	if again != id || key(t, second) == key(t, link) || f.state(t, pid, id) != "Pending" {
		t.Errorf("again it is %s at %s, %s", again, key(t, second), f.state(t, pid, id))
	}
}

// TestPhotoOfAnotherType: type is not to be trusted: clients send JPEG for a PNG,
// and Content-Type is not part of the signature.
func TestPhotoOfAnotherType(t *testing.T) {
	f := open(t)
	pid := f.newProject(t, "North face")
	_, link := f.newImage(t, pid, "a.png", sha1Of([]byte("a")))
	u, err := url.Parse(link)
	if err != nil || u.Query().Get("X-Amz-SignedHeaders") != "host" {
		t.Errorf("the URL binds %s", u.Query().Get("X-Amz-SignedHeaders"))
	}
	if u.Query().Get("X-Amz-Expires") != "10800" {
		t.Errorf("the URL lives %s s, the contract says 3 hours", u.Query().Get("X-Amz-Expires"))
	}
	for _, typ := range []string{"image/png", "image/jpeg", "JPEG", ""} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, link, strings.NewReader("a"))
		if err != nil {
			t.Fatal(err)
		}
		if typ != "" {
			r.Header.Set("Content-Type", typ)
		}
		if got := f.do(t, r); got.status != http.StatusOK {
			t.Errorf("a PUT as %q answers %d %s", typ, got.status, got.body)
		}
	}
}

// TestRegisterWhatIsThere: old scripts register and PUT without asking hasImage
// first, also on a second run: registering an image that is already there answers
// the image and a working url, never null or an error.
func TestRegisterWhatIsThere(t *testing.T) {
	f := open(t)
	f.work(t)
	pid := f.newProject(t, "North face")
	content := photo(t, 1)
	id, first := f.newImage(t, pid, "a.jpg", sha1Of(content))
	f.put(t, first, content)
	if s := f.settle(t, pid, id); s != "Ready" {
		t.Fatal(s)
	}
	before := f.record(t, id)
	for range 3 {
		r := f.ok(t, `mutation{uploadImageS3(pid:"`+pid+`",bucket:Local,filename:"again.jpg",type:JPEG,checksum:"`+sha1Of(content)+`"){url image{id state name}}}`)
		if got := r.json(t, "data.uploadImageS3.image"); got != `{"id":"`+id+`","name":"a.jpg","state":"Ready"}` {
			t.Errorf("registered again: %s", got)
		}
		link := r.text(t, "data.uploadImageS3.url")
		if key(t, link) == key(t, first) {
			t.Error("a second run could write over what is Ready")
		}
		if status := f.put(t, link, []byte("something else")); status != http.StatusOK {
			t.Errorf("the PUT answers %d", status)
		}
		f.ok(t, `mutation{startImageUpload(id:"`+id+`"){id}}`)
		f.ok(t, `mutation{doneImageUpload(id:"`+id+`"){id}}`)
	}
	if err := f.worker.LookAt(t.Context(), "Local", key(t, first)); err != nil {
		t.Fatal(err)
	}
	if after := f.record(t, id); after.State != broker.StateReady || after.ETag != before.ETag || after.Attempt != before.Attempt || after.Filename != before.Filename {
		t.Errorf("the image was %+v and is %+v", before, after)
	}
	// What is served is what was proven.
	link := f.ok(t, `{project(id:"`+pid+`"){image(id:"`+id+`"){url}}}`).text(t, "data.project.image.url")
	if r := f.send(t, http.MethodGet, strings.TrimPrefix(link, f.URL), ""); r.status != http.StatusOK || r.body != string(content) {
		t.Errorf("the link reads %d, %d bytes", r.status, len(r.body))
	}
}

// TestParts: image rows are made only when image is asked for, the url is signed
// only when url is asked for; fragments, aliases, @skip and @include are heeded.
func TestParts(t *testing.T) {
	f := open(t)
	pid := f.newProject(t, "North face")
	count := func() string {
		return f.ok(t, `{project(id:"`+pid+`"){numImage}}`).json(t, "data.project.numImage")
	}
	call := func(name, sum, rest string) string {
		return `mutation M{uploadImageS3(pid:"` + pid + `",bucket:Local,filename:"` + name + `",checksum:"` + sum + `"){` + rest + `}}`
	}
	sum := func(s string) string { return sha1Of([]byte(s)) }

	// {url} alone makes no row.
	for _, rest := range []string{
		`url`, `__typename url`, `url image @skip(if:true){id}`, `url ... @include(if:false){image{id}}`, `link:url ...on SignedImage{__typename}`, `__typename`,
	} {
		r := f.refused(t, broker.CodeInvalid, call("a.jpg", sum("a"), rest))
		if !strings.Contains(r.text(t, "errors.0.message"), "ask for image") || count() != "0" {
			t.Errorf("%s: %s, %s images", rest, r.body, count())
		}
	}
	// {image} alone signs nothing.
	for i, rest := range []string{`image{id}`, `image{id} url @skip(if:true)`, `i:image{id}`, `...{image{id}}`} {
		r := f.ok(t, call("b.jpg", sum("b"), rest))
		if strings.Contains(r.body, "X-Amz") || count() != "1" {
			t.Errorf("%s: %s, %s images (%d)", rest, r.body, count(), i)
		}
	}
	// Once the row is there, url alone gives one that works.
	r := f.ok(t, call("b.jpg", sum("b"), `url`))
	if count() != "1" || f.put(t, r.text(t, "data.uploadImageS3.url"), []byte("b")) != http.StatusOK {
		t.Errorf("url alone: %s", r.body)
	}
	// Both, in fragments and under other names.
	r = f.ok(t, call("c.jpg", sum("c"), `...F`)+` fragment F on SignedImage{a:url b:image{id}}`)
	if r.text(t, "data.uploadImageS3.a") == "" || r.text(t, "data.uploadImageS3.b.id") == "" {
		t.Errorf("in a fragment: %s", r.body)
	}
	// Without a sha1 each is an image of its own.
	f.ok(t, `mutation{uploadImageS3(pid:"`+pid+`",bucket:Local,filename:"d.jpg"){url image{id}}}`)
	f.ok(t, `mutation{uploadImageS3(pid:"`+pid+`",bucket:Local,filename:"d.jpg",checksum:"",sha1sum:""){url image{id}}}`)
	if count() != "4" {
		t.Errorf("there are %s images", count())
	}
}

// TestUploadRefused: what an upload is refused for, by its code.
func TestUploadRefused(t *testing.T) {
	f := open(t)
	pid := f.newProject(t, "North face")
	_, _, other := f.newOwner(t, "bob@example.com", "", broker.NewKey{})
	upload := func(pid, bucket, name, sums string) string {
		return `mutation{uploadImageS3(pid:"` + pid + `",bucket:` + bucket + `,filename:"` + name + `"` + sums + `){url image{id}}}`
	}
	a, b := sha1Of([]byte("a")), sha1Of([]byte("b"))
	for query, code := range map[string]broker.Code{
		upload(broker.NewID(time.Now()), "Local", "a.jpg", ""):             broker.CodeNotFound,
		upload("x", "Local", "a.jpg", ""):                                  broker.CodeNotFound,
		upload(pid, "Drained", "a.jpg", ""):                                broker.CodeNoBucket,
		upload(pid, "Local", "", ""):                                       broker.CodeInvalidName,
		upload(pid, "Local", "../a.jpg", ""):                               broker.CodeInvalidName,
		upload(pid, "Local", `a\\b.jpg`, ""):                               broker.CodeInvalidName,
		upload(pid, "Local", `a\u0000.jpg`, ""):                            broker.CodeInvalidName,
		upload(pid, "Local", "a.jpg", `,checksum:"12"`):                    broker.CodeInvalidSHA1,
		upload(pid, "Local", "a.jpg", `,checksum:"`+a+`",sha1sum:"`+b+`"`): broker.CodeInvalid,
	} {
		f.refused(t, code, query)
	}
	f.ok(t, upload(pid, "Local", "a.jpg", `,checksum:"`+a+`",sha1sum:"`+strings.ToUpper(a)+`"`))
	if r := f.ask(t, other, upload(pid, "Local", "a.jpg", "")); r.code() != broker.CodeNotFound {
		t.Errorf("another's project: %s", r.body)
	}
	_, read := f.newKey(t, f.owner, broker.NewKey{Scopes: []broker.Scope{broker.ScopeRead}})
	if r := f.ask(t, read, upload(pid, "Local", "a.jpg", "")); r.code() != broker.CodeNotAllowed {
		t.Errorf("a key that may not: %s", r.body)
	}
	// A bucket of OSS without a role gives no sessions.
	f.images.Places.Replace(broker.ConfiguredOrder{}, append(f.places, broker.Bucket{Symbol: "Sessions", Cloud: broker.CloudOSS})...)
	f.face.Reload()
	r := f.refused(t, broker.CodeNotSupported, `mutation{uploadImageOSS(pid:"`+pid+`",bucket:Sessions,filename:""){sts{id secret token bucket endpoint expire}}}`)
	if !strings.Contains(r.text(t, "errors.0.message"), "gives no sessions") {
		t.Errorf("OSS: %s", r.body)
	}
}

// TestPinnedKey: an API key can be pinned to clouds, and nearestBuckets then lists
// only those: scripts take nearestBuckets[0] whatever its cloud.
func TestPinnedKey(t *testing.T) {
	f := open(t)
	_, pinned := f.newKey(t, f.owner, broker.NewKey{Clouds: []broker.Cloud{broker.CloudMinIO}})
	const query = `{getGeoIPInfo{nearestBuckets{bucket display cloud}} support{supportedCloud(kind:image)}}`
	for token, want := range map[string]string{
		"":        `{"getGeoIPInfo":{"nearestBuckets":[{"bucket":"Local","cloud":"S3","display":"This machine"},{"bucket":"Office","cloud":"MINIO","display":"The office"}]},"support":{"supportedCloud":["S3","MINIO"]}}`,
		pinned:    `{"getGeoIPInfo":{"nearestBuckets":[{"bucket":"Office","cloud":"MINIO","display":"The office"}]},"support":{"supportedCloud":["MINIO"]}}`,
		"revoked": `{"getGeoIPInfo":{"nearestBuckets":[{"bucket":"Local","cloud":"S3","display":"This machine"},{"bucket":"Office","cloud":"MINIO","display":"The office"}]},"support":{"supportedCloud":["S3","MINIO"]}}`,
	} {
		if got := f.ask(t, token, query).json(t, "data"); got != want {
			t.Errorf("%.8q gets %s", token, got)
		}
	}
	// A bucket that gives no presigned requests is of no use here, so it is not
	// offered.
	f.images.Places.Replace(broker.ConfiguredOrder{}, append([]broker.Bucket{{Symbol: "Sessions", Cloud: broker.CloudOSS}}, f.places...)...)
	if got := f.ask(t, "", `{getGeoIPInfo{nearestBuckets{bucket}}}`).text(t, "data.getGeoIPInfo.nearestBuckets.0.bucket"); got != "Local" {
		t.Errorf("nearest is %s", got)
	}
}
