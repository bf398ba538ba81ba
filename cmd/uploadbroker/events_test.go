package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/jackc/pgx/v5"

	"github.com/uploadbroker/uploadbroker/broker/postgres/privatepg"
)

// onPostgres is a database of the test's own, for the program and for the test to
// look into.
func onPostgres(t *testing.T) (dsn string, exec func(sql string, args ...any)) {
	t.Helper()
	pg, err := privatepg.Start(t.Context(), privatepg.Options{DataDir: dataFolder(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pg.Stop(context.Background()) })
	return pg.DSN(), func(sql string, args ...any) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), pg.DSN())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// noLooks puts every look off by an hour: what is seen now, an event told of.
const noLooks = `UPDATE watches SET next_look_at = now() + interval '1 h', pause = interval '1 h', reconcile_at = NULL, reconciled_at = now()`

var eventURL = regexp.MustCompile(`(?m)^(\w+) +(http://\S+)/events/\w+/(\S+)$`)

// eventSecrets asks `buckets events`, as an operator does.
func (s *server) eventSecrets(flags ...string) map[string]string {
	s.t.Helper()
	code, out := s.client(append([]string{"buckets", "events"}, flags...)...)
	if code != 0 {
		s.t.Fatalf("buckets events ended with %d:\n%s", code, out)
	}
	secrets := map[string]string{}
	for _, m := range eventURL.FindAllStringSubmatch(out, -1) {
		secrets[m[1]] = m[3]
	}
	return secrets
}

// TestEvents: a bucket's word brings the look at once; whoever does not know its
// secret is refused, and nobody can say that something arrived which did not.
func TestEvents(t *testing.T) {
	t.Parallel()
	dsn, exec := onPostgres(t)
	cloud := startS3(t, "east", "west")
	path := filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, []byte("database_url: '"+dsn+"'\nbuckets:\n"+cloud.config("East", "east", "")+
		cloud.config("West", "west", ", events: {secret: chosen-by-the-operator}")))
	s := start(t, dataFolder(t), "--config", path)
	secrets := s.eventSecrets("--config", path)
	if len(secrets["East"]) < 32 || secrets["West"] != "chosen-by-the-operator" {
		t.Fatalf("the secrets are %v", secrets)
	}
	if again := s.eventSecrets("--config", path, "East"); again["East"] != secrets["East"] || len(again) != 1 {
		t.Errorf("asked again: %v", again)
	}
	post := func(path, bearer, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequest("POST", s.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if bearer != "" {
			req.Header.Set("Authorization", "Bearer "+bearer)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var text bytes.Buffer
		_, _ = text.ReadFrom(res.Body)
		return res.StatusCode, text.String()
	}
	record := func(key string) string {
		return fmt.Sprintf(`{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"east"},"object":{"key":"%s","size":1,"eTag":"0123"}}}]}`, key)
	}

	pid := s.newProject("told")
	files := [][]byte{photo(1, 64, 64), photo(2, 64, 64), photo(3, 64, 64)}
	r := s.register(pid, "East", nil, files...)
	exec(noLooks)
	key := func(i int) string { return pid + "/" + fileOf(r[i].Grant.URL) }

	for _, wrong := range [][2]string{
		{"/events/East/wrong-secret-of-some-length", ""}, {"/events/East/" + secrets["West"], ""}, {"/events/None/" + secrets["East"], ""},
		{"/events/East", ""}, {"/events/East", s.key}, {"/events/East/", secrets["West"]},
	} {
		if status, text := post(wrong[0], wrong[1], record(key(0))); status != 401 || strings.Contains(text, secrets["East"]) {
			t.Errorf("%v answers %d %s", wrong, status, text)
		}
	}
	if status, text := post("/events/East/"+secrets["East"], "", record(key(0))); status != 200 {
		t.Errorf("a forged event answers %d %s", status, text)
	}
	var img struct{ State string }
	for i, told := range []func(){
		func() { post("/events/East/"+secrets["East"], "", record(key(0))) },
		func() { post("/events/East", secrets["East"], record(key(1))) },
	} {
		if s.call("GET", "/v1/projects/"+pid+"/images/"+r[i].Image.ID, nil, &img); img.State == "Uploaded" || img.State == "Ready" {
			t.Fatalf("what did not arrive is %s", img.State)
		}
		exec(noLooks) // asking made it due
		if status := r[i].put(t, files[i]); status != 200 {
			t.Fatalf("the put answers %d", status)
		}
		told()
		s.waitState(pid, r[i].Image.ID, "Ready")
		exec(noLooks)
	}
	for _, nonsense := range []string{"", "{}", "[]", "null", `{"Records":17}`, "<xml>", strings.Repeat("[", 100_000), strings.Repeat("x", 2<<20)} {
		if status, _ := post("/events/East/"+secrets["East"], "", nonsense); status/100 != 4 {
			t.Errorf("%.20q answers %d", nonsense, status)
		}
	}
	if strings.Contains(s.out.String(), secrets["East"]) {
		t.Error("a secret is in the log")
	}
	if code, out := s.client("buckets", "events", "--config", path, "None"); code != exitUsage || !strings.Contains(out, "None") {
		t.Errorf("events of no bucket: %d\n%s", code, out)
	}
}

// fileOf is the last segment of a signed URL's path.
func fileOf(signed string) string {
	path, _, _ := strings.Cut(signed, "?")
	return path[strings.LastIndexByte(path, '/')+1:]
}

// TestMinIOEvents: the webhook of a real MinIO, set up as `buckets events` says.
func TestMinIOEvents(t *testing.T) {
	binary := os.Getenv("UPLOADBROKER_TEST_MINIO")
	if binary == "" {
		if slices.Contains(strings.FieldsFunc(os.Getenv("REQUIRE"), func(r rune) bool { return r == ',' || r == ' ' }), "minio") {
			t.Fatal("MinIO is required: set UPLOADBROKER_TEST_MINIO to its binary (make test-minio does)")
		}
		t.Skip("no MinIO: set UPLOADBROKER_TEST_MINIO to its binary, or run make test-minio")
	}
	dsn, exec := onPostgres(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	endpoint := "http://" + l.Addr().String()
	l.Close()
	path := filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, fmt.Appendf(nil, "database_url: '%s'\nbuckets:\n  - {symbol: Cellar, cloud: MINIO, bucket: cellar, endpoint: '%s', access_key_id: %s, access_key_secret: %s}\n",
		dsn, endpoint, s3ID, s3Secret))
	s := start(t, dataFolder(t), "--config", path)
	url := s.url + "/events/Cellar/" + s.eventSecrets("--config", path)["Cellar"]
	startMinIO(t, binary, endpoint, url)

	c, err := awsconfig.LoadDefaultConfig(t.Context(), awsconfig.WithRegion("us-east-1"),
		awsconfig.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(s3ID, s3Secret, "")))
	if err != nil {
		t.Fatal(err)
	}
	sdk := awss3.NewFromConfig(c, func(o *awss3.Options) { o.BaseEndpoint, o.UsePathStyle = &endpoint, true })
	if _, err := sdk.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: aws.String("cellar")}); err != nil {
		t.Fatal(err)
	}
	if _, err := sdk.PutBucketNotificationConfiguration(t.Context(), &awss3.PutBucketNotificationConfigurationInput{
		Bucket: aws.String("cellar"),
		NotificationConfiguration: &types.NotificationConfiguration{QueueConfigurations: []types.QueueConfiguration{{
			QueueArn: aws.String("arn:minio:sqs::uploadbroker:webhook"), Events: []types.Event{"s3:ObjectCreated:*"},
		}}},
	}); err != nil {
		t.Fatal(err)
	}

	pid := s.newProject("told")
	good := photo(1, 64, 64)
	files := [][]byte{good, good[:len(good)/2]}
	r := s.register(pid, "Cellar", nil, files...)
	exec(noLooks)
	for i, want := range []string{"Ready", "Invalid"} {
		if status := r[i].put(t, files[i]); status != 200 {
			t.Fatalf("the put answers %d", status)
		}
		// Asking by the API would make it due.
		s.waitFor("MinIO's event to be followed", func() bool { return s.stateInDatabase(dsn, r[i].Image.ID) == want })
	}
}

func (s *server) stateInDatabase(dsn, id string) (state string) {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), dsn)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(s.t.Context(), `SELECT state FROM images WHERE id = $1`, id).Scan(&state); err != nil {
		s.t.Fatal(err)
	}
	return state
}

// startMinIO runs a server that sends its events to a URL.
func startMinIO(t *testing.T, binary, endpoint, events string) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(binary, "server", "--quiet", "--address", strings.TrimPrefix(endpoint, "http://"), "--console-address", "127.0.0.1:0",
		"--certs-dir", filepath.Join(dir, "certs"), filepath.Join(dir, "data"))
	cmd.Env = []string{
		"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "NO_PROXY=*", "MINIO_BROWSER=off", "MINIO_UPDATE=off",
		"MINIO_ROOT_USER=" + s3ID, "MINIO_ROOT_PASSWORD=" + s3Secret,
		"MINIO_NOTIFY_WEBHOOK_ENABLE_uploadbroker=on", "MINIO_NOTIFY_WEBHOOK_ENDPOINT_uploadbroker=" + events,
		"MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_uploadbroker=" + filepath.Join(dir, "events"),
	}
	var output transcript
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() })
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if res, err := http.Get(endpoint + "/minio/health/ready"); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Since(began) > patience {
			t.Fatalf("MinIO is not ready:\n%s", &output)
		}
	}
}
