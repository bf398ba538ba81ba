package graphql

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/uploadbroker/uploadbroker/api/graphql/schema"
	"github.com/uploadbroker/uploadbroker/broker"
)

var update = flag.Bool("update", false, "write the golden files anew")

// introspection is the query of graphql-js (getIntrospectionQuery, 16.9.0), which
// GraphiQL and code generators send.
const introspection = `query IntrospectionQuery { __schema { description queryType { name } mutationType { name } subscriptionType { name }
 types { ...FullType } directives { name description isRepeatable locations args(includeDeprecated: true) { ...InputValue } } } }
fragment FullType on __Type { kind name description specifiedByURL fields(includeDeprecated: true) { name description args(includeDeprecated: true) { ...InputValue } type { ...TypeRef } isDeprecated deprecationReason }
 inputFields(includeDeprecated: true) { ...InputValue } interfaces { ...TypeRef } enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason } possibleTypes { ...TypeRef } }
fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue isDeprecated deprecationReason }
fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } } } } }`

// oldIntrospection is that of graphql-js 0.x, as old tools send it.
const oldIntrospection = `query IntrospectionQuery { __schema { queryType { name } mutationType { name } types { ...FullType } directives { name description args { ...InputValue } } } }
fragment FullType on __Type { kind name description fields(includeDeprecated: true) { name description args { ...InputValue } type { ...TypeRef } isDeprecated deprecationReason }
 inputFields { ...InputValue } interfaces { ...TypeRef } enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason } possibleTypes { ...TypeRef } }
fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue }
fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }`

// TestSchema keeps the whole contract as clients see it: no name, argument,
// nullability or enum value changes unseen.
func TestSchema(t *testing.T) {
	f := open(t)
	if r := f.ask(t, "", oldIntrospection); strings.Contains(r.body, `"errors"`) {
		t.Errorf("the old introspection: %.300s", r.body)
	}
	r := f.ask(t, "", introspection)
	if strings.Contains(r.body, `"errors"`) {
		t.Fatalf("%.300s", r.body)
	}
	var got bytes.Buffer
	if err := json.Indent(&got, []byte(r.body), "", " "); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "introspection.json")
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(file, got.Bytes(), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s differs; clients hold to it. If it is meant, run go test ./api/graphql -run TestSchema -update", file)
	}
}

// TestContract holds the schema to the contract's names, argument types and
// nullability, written here once more.
func TestContract(t *testing.T) {
	s, _ := schema.Load(nil)
	for name, want := range map[string]string{
		"Query.project": "(id: ID!): Project", "Query.support": ": Support!", "Query.getGeoIPInfo": ": GeoIPInfo!", "Query.search": ": Search!",
		"Query.my": ": My", "Query.bank": ": Bank!", "Query.versions": ": Versions!",
		"Support.supportedCloud": "(kind: UPLOAD_TYPE): [CLOUD!]!", "Support.networkTest": "(url: String!): NETWORK_TEST_RESULT!",
		"Support.errorCodeInfo": "(code: PROJECT_ERROR_CODE, lang: LOCALE_TYPE): ErrorCodeInfo",
		"Search.projectID":      "(id: String, limit: Int, myProject: Boolean): [Project!]!",
		"My.self":               ": User", "My.allProjects": "(first: Int, last: Int, before: String, after: String, search: String): ProjectsConnection!",
		"Bank.coinsToMoney": "(coins: Float, currency: CURRENCY): Float!", "Bank.moneyToCoins": "(money: Float, currency: CURRENCY): Float!",
		"NearBucket.bucket": ": String!", "NearBucket.cloud": ": CLOUD!",
		"Project.image": "(id: ID!): ProjectImage", "Project.allImages": "(first: Int, last: Int, before: String, after: String, filter: IMAGE_FILTER): ProjectImagesConnection!",
		"Project.date": ": DateTime!", "Project.downloads": ": DownloadsConnection", "Project.cloudPath": ": [CloudPath!]", "Project.taskState": ": TASK_STATE",
		"Project.importedState": ": String", "Project.gigaPixel": ": Float!", "Project.numImage": ": Int!", "Downloadable.size": ": Int64",
		"ProjectImage.error": ": [String!]", "ProjectImage.checksum": ": String", "ProjectImage.filename": ": String!", "ProjectImage.url": ": String",
		"TaskError.code": ": Int", "User.email": ": String!", "User.username": ": String!", "User.joined": ": DateTime",
		"Mutation.getUserToken":     "(email: String!, password: String!, fresh: Boolean): String",
		"Mutation.createProject":    "(name: String!, type: PROJECT_TYPE, imported: Boolean, modelType: IMPORTED_MODEL_TYPE, visibility: PROJECT_VISIBILITY): Project",
		"Mutation.removeProject":    "(id: ID!): Project",
		"Mutation.hasImage":         "(pid: ID!, checksum: String, sha1sum: String): ProjectImage",
		"Mutation.uploadImageS3":    "(pid: ID!, bucket: BucketS3!, filename: String!, type: IMAGE_TYPE, checksum: String, sha1sum: String): SignedImage",
		"Mutation.uploadImageMinio": "(pid: ID!, bucket: BucketMinio!, filename: String!, type: IMAGE_TYPE, checksum: String, sha1sum: String): SignedImage",
		"Mutation.uploadImageOSS":   "(pid: ID!, bucket: BucketOSS!, filename: String!, type: IMAGE_TYPE, checksum: String, sha1sum: String): STSImage",
		"Mutation.uploadImageURL":   "(pid: ID!, url: String!, filename: String, checksum: String): ProjectImage",
		"Mutation.startImageUpload": "(id: ID!): ProjectImage", "Mutation.doneImageUpload": "(id: ID!): ProjectImage",
		"Mutation.startReconstructionWithError": "(id: ID!, options: ReconstructionOptions): TaskWithError",
		"Mutation.preStartReconstruction":       "(id: ID!, options: ReconstructionOptions): TaskWithError",
		"Mutation.stopReconstruction":           "(id: ID!): Task",
		"SignedImage.url":                       ": String", "STS.expire": ": String!", "STS.endpoint": ": String!",
	} {
		typ, field, _ := strings.Cut(name, ".")
		def := s.Types[typ].Fields.ForName(field)
		if def == nil {
			t.Errorf("there is no %s", name)
			continue
		}
		var args []string
		for _, a := range def.Arguments {
			args = append(args, a.Name+": "+a.Type.String())
		}
		got := ": " + def.Type.String()
		if len(args) > 0 {
			got = "(" + strings.Join(args, ", ") + ")" + got
		}
		if got != want {
			t.Errorf("%s is %s, the contract says %s", name, got, want)
		}
	}
	for name, want := range map[string]string{
		"PROJECT_TYPE": "free pro", "PROJECT_VISIBILITY": "public unlisted private", "IMPORTED_MODEL_TYPE": "CAD PHOTOGRAMMETRY PTCLOUD",
		"IMAGE_TYPE": "JPEG PNG TIFF", "UPLOAD_TYPE": "image model meta", "CLOUD": "S3 OSS MINIO", "IMAGE_FILTER": "All Pending Uploading Uploaded Ready Invalid",
		"IMAGE_STATE": "Pending Uploading Uploaded Ready Invalid", "TASK_TYPE": "Native Dense", "TASK_STATE": "Pending Processing Done Failed Stopped",
		"SYSTEM_MODE": "Normal ReadOnly Offline", "NETWORK_TEST_RESULT": "Success Fail", "CURRENCY": "USD", "LOCALE_TYPE": "en zh_tw zh_cn",
		"PROJECT_ERROR_CODE": strings.Join(broker.AllTaskFaults(), " "), "BucketS3": "NONE", "BucketOSS": "NONE", "BucketMinio": "NONE",
	} {
		var members []string
		for _, v := range s.Types[name].EnumValues {
			members = append(members, v.Name)
		}
		if got := strings.Join(members, " "); got != want {
			t.Errorf("%s is %s, the contract says %s", name, got, want)
		}
	}
}

// TestEnumsListBuckets: __type(name: "BucketS3") { enumValues { name } } (also
// BucketOSS, BucketMinio, TASK_TYPE, CURRENCY, PROJECT_ERROR_CODE) must list the
// operator's buckets; one without a bucket keeps the single member NONE.
func TestEnumsListBuckets(t *testing.T) {
	f := open(t)
	for name, want := range map[string]string{
		"BucketS3": "Local Drained", "BucketMinio": "Office", "BucketOSS": "NONE",
		"TASK_TYPE": "Native Dense", "CURRENCY": "USD", "PROJECT_ERROR_CODE": strings.Join(broker.AllTaskFaults(), " "),
	} {
		if got := f.members(t, name); got != want {
			t.Errorf("%s lists %s, want %s", name, got, want)
		}
	}
}

func (f *fixture) members(t *testing.T, enum string) string {
	t.Helper()
	r := f.ask(t, "", `{__type(name:"`+enum+`"){enumValues{name}}}`)
	var names []string
	list, _ := r.at(t, "data.__type.enumValues").([]any)
	for _, v := range list {
		names = append(names, v.(map[string]any)["name"].(string))
	}
	return strings.Join(names, " ")
}

// TestEnumValues: scripts write enum values and ids as literals in the query text;
// variables work as well; an unknown member gets a clean validation error; NONE is
// refused by every mutation.
func TestEnumValues(t *testing.T) {
	f := open(t)
	pid := f.newProject(t, "North face")
	f.ok(t, `mutation{uploadImageS3(pid:"`+pid+`",bucket:Local,filename:"a.jpg",type:PNG){url image{id}}}`)
	f.ok(t, `mutation{uploadImageMinio(pid:"`+pid+`",bucket:Office,filename:"a.jpg"){url image{id}}}`)
	const withVariables = `mutation M($p:ID!,$b:BucketS3!,$f:String!,$t:IMAGE_TYPE,$c:String){uploadImageS3(pid:$p,bucket:$b,filename:$f,type:$t,checksum:$c){url image{id}}}`
	r := f.askWith(t, f.secret, withVariables, map[string]any{"p": pid, "b": "Local", "f": "b.jpg", "t": "JPEG", "c": nil})
	if r.text(t, "data.uploadImageS3.url") == "" {
		t.Errorf("with variables: %s", r.body)
	}
	for _, c := range []string{"Nowhere", "NONE", "Office", "local"} {
		r := f.askWith(t, f.secret, withVariables, map[string]any{"p": pid, "b": c, "f": "b.jpg"})
		// The library takes variables in either case; the bucket is still none.
		want := map[bool]broker.Code{true: broker.CodeUnknownBucket, false: broker.CodeInvalid}[c == "local"]
		if r.code() != want || r.status != 200 {
			t.Errorf("the variable %s: %d %s", c, r.status, r.body)
		}
		r = f.refused(t, broker.CodeInvalid, `mutation{uploadImageS3(pid:"`+pid+`",bucket:`+c+`,filename:"a.jpg"){url}}`)
		if !strings.Contains(r.text(t, "errors.0.message"), "BucketS3") {
			t.Errorf("%s: %s", c, r.body)
		}
	}
	// As text a bucket is none: the type of a literal holds.
	f.refused(t, broker.CodeInvalid, `mutation{uploadImageS3(pid:"`+pid+`",bucket:"Local",filename:"a.jpg"){url}}`)

	f.images.Places.Replace(broker.ConfiguredOrder{})
	f.face.Reload()
	for _, m := range []string{"S3", "Minio", "OSS"} {
		field := map[string]string{"OSS": "sts{id}"}[m]
		r := f.refused(t, broker.CodeNoBucket, `mutation{uploadImage`+m+`(pid:"`+pid+`",bucket:NONE,filename:"a.jpg"){image{id} `+field+`}}`)
		if !strings.Contains(r.text(t, "errors.0.message"), "there is no bucket") {
			t.Errorf("%s: %s", m, r.body)
		}
	}
	if r := f.ask(t, "", `{getGeoIPInfo{nearestBuckets{bucket}} support{supportedCloud}}`); r.json(t, "data") != `{"getGeoIPInfo":{"nearestBuckets":[]},"support":{"supportedCloud":[]}}` {
		t.Errorf("without buckets: %s", r.body)
	}
}

// TestSymbols: the schema is not validated again, so what can't be a member is
// left out: not [_A-Za-z][_0-9A-Za-z]*, a leading __, true, false, null, a double.
func TestSymbols(t *testing.T) {
	var buckets []broker.Bucket
	for _, s := range []string{"Good", "_ok", "a9", "9a", "a-b", "", "__x", "true", "false", "null", "Good", "é", "NONE"} {
		buckets = append(buckets, broker.Bucket{Symbol: s, Cloud: broker.CloudS3})
	}
	buckets = append(buckets, broker.Bucket{Symbol: "Good", Cloud: broker.CloudMinIO}, broker.Bucket{Symbol: "Azure", Cloud: "AZURE"})
	s, bad := schema.Load(buckets)
	if got := strings.Join(bad, " "); got != "9a a-b  __x true false null Good é NONE Azure" {
		t.Errorf("left out are %q", got)
	}
	if got := s.Types["BucketS3"].EnumValues; len(got) != 3 || got[0].Name != "Good" || got[1].Name != "_ok" || got[2].Name != "a9" {
		t.Errorf("members are %v", got)
	}
	if s.Types["BucketMinio"].EnumValues.ForName("Good") == nil || s.Types["BucketOSS"].EnumValues.ForName("NONE") == nil {
		t.Error("the other clouds have no member")
	}
}

// TestReload: the members change while requests run, and each request sees one
// set of them.
func TestReload(t *testing.T) {
	f := open(t)
	sets := [][]broker.Bucket{f.places, {{Symbol: "Hongkong", Cloud: broker.CloudS3}}}
	stop := make(chan struct{})
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r := f.ask(t, "", `{a:__type(name:"BucketS3"){enumValues{name}} b:__type(name:"BucketS3"){enumValues{name}}}`)
				a, b := r.json(t, "data.a.enumValues"), r.json(t, "data.b.enumValues")
				if a != b || a != `[{"name":"Local"},{"name":"Drained"}]` && a != `[{"name":"Hongkong"}]` {
					t.Errorf("a request saw %s and %s", a, b)
				}
			}
		})
	}
	for i := range 40 {
		f.images.Places.Replace(broker.ConfiguredOrder{}, sets[(i+1)%2]...)
		f.face.Reload()
		want := []string{"Hongkong", "Local Drained"}[i%2]
		if got := f.members(t, "BucketS3"); got != want {
			t.Fatalf("after a reload the members are %s, want %s", got, want)
		}
	}
	close(stop)
	wait.Wait()
}
