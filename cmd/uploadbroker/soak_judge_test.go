package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
	"github.com/uploadbroker/uploadbroker/storage/local"
	"github.com/uploadbroker/uploadbroker/storage/s3"
)

// unsettled names what must be gone when the installation has settled.
var unsettled = []struct{ what, count, show string }{
	{
		"images without a verdict",
		`SELECT count(*) FROM images WHERE state NOT IN ('Ready', 'Invalid')`,
		`SELECT state || ' attempt ' || attempt || ' bucket ' || coalesce(bucket, '-') || ' seen ' || coalesce(uploaded_at::text, '-') || ' failures ' || check_failures || ' jobs ' ||
		   coalesce((SELECT string_agg(j.id || ' ' || j.state || ' try ' || j.attempt || ' at ' || j.scheduled_at, '; ') FROM river_job j WHERE j.args @> jsonb_build_object('image_id', i.id)), 'none')
		   || ' watches ' || (SELECT string_agg(w.bucket || ' next ' || coalesce(w.next_look_at::text, 'asleep') || ' pause ' || w.pause, '; ') FROM watches w WHERE w.project_id = i.project_id)
		 FROM images i WHERE state NOT IN ('Ready', 'Invalid') ORDER BY id LIMIT 5`,
	},
	{
		"jobs that are not over",
		`SELECT count(*) FROM river_job WHERE state NOT IN ('completed', 'cancelled')`,
		`SELECT id || ' ' || kind || ' ' || state || ' try ' || attempt || ' since ' || coalesce(attempted_at::text, '-') || ' due ' || scheduled_at || ' by ' ||
		   coalesce(attempted_by[array_upper(attempted_by, 1)], '-') || ' image ' || coalesce((SELECT i.state FROM images i WHERE i.id = j.args->>'image_id'), '-')
		   || ' last error ' || coalesce(errors[array_upper(errors, 1)]->>'error', '-')
		 FROM river_job j WHERE state NOT IN ('completed', 'cancelled') ORDER BY id LIMIT 5`,
	},
	{
		"leases",
		`SELECT count(*) FROM leases`,
		`SELECT l.image_id || ' ends ' || l.expires_at || ' of ' || i.state FROM leases l JOIN images i ON i.id = l.image_id ORDER BY l.expires_at LIMIT 5`,
	},
}

// settle waits until nothing is left to do. It reports false, and what is left,
// when the time is over.
func (s *soak) settle(ctx context.Context) bool {
	s.t.Helper()
	for {
		left := s.left()
		if len(left) == 0 {
			return true
		}
		if !pause(ctx, 500*time.Millisecond) {
			for _, what := range left {
				s.t.Errorf("%s after everything was left alone there are %s", settleTime, what)
			}
			return false
		}
	}
}

// left says what is not settled.
func (s *soak) left() (all []string) {
	s.t.Helper()
	db := s.connect()
	defer db.Close(context.Background())
	for _, u := range unsettled {
		n := one[int](s, db, u.count)
		if n > 0 {
			all = append(all, fmt.Sprintf("%d %s, as\n  %s", n, u.what, strings.Join(rows[string](s, db, u.show), "\n  ")))
		}
	}
	return all
}

// connect goes straight to the database, by none of the lines.
func (s *soak) connect() *pgx.Conn {
	s.t.Helper()
	db, err := pgx.Connect(context.Background(), s.postgres.dsn())
	if err != nil {
		s.t.Fatal(err)
	}
	return db
}

func rows[T any](s *soak, db *pgx.Conn, sql string, args ...any) []T {
	s.t.Helper()
	found, err := db.Query(context.Background(), sql, args...)
	if err != nil {
		s.t.Fatalf("%v in %s", err, sql)
	}
	all, err := pgx.CollectRows(found, pgx.RowTo[T])
	if err != nil {
		s.t.Fatalf("%v in %s", err, sql)
	}
	return all
}

func one[T any](s *soak, db *pgx.Conn, sql string, args ...any) T {
	s.t.Helper()
	return rows[T](s, db, sql, args...)[0]
}

// soakImage is an image with what the tables say around it.
type soakImage struct {
	SHA1, Proven, State, Bucket, Filename     string
	Reasons                                   []string
	Attempt, Verdicts, Seen, Judged, Attempts int
}

// findings is what was found, for the summary.
type findings struct {
	images, ready, invalid, verdicts, attempts, objects int
	cancelled                                           int
}

func (f findings) String() string {
	return fmt.Sprintf("images=%d ready=%d invalid=%d verdicts=%d later-attempts=%d objects=%d jobs-cancelled=%d",
		f.images, f.ready, f.invalid, f.verdicts, f.attempts, f.objects, f.cancelled)
}

// judge compares the database and the buckets with what was uploaded.
func (s *soak) judge() (f findings) {
	s.t.Helper()
	db := s.connect()
	defer db.Close(context.Background())
	// A database that was killed has forgotten how large its tables are.
	if _, err := db.Exec(context.Background(), `ANALYZE`); err != nil {
		s.t.Fatal(err)
	}
	keys := map[string]bool{} // that belong to an image
	for _, round := range s.rounds {
		if n := one[int](s, db, `SELECT count(*) FROM projects WHERE name = $1`, round.name); n != 1 {
			s.complain("%d projects are named %s", n, round.name)
		}
		if round.pid != "" {
			s.judgeRound(db, round, keys, &f)
		}
	}
	for _, extra := range []struct{ what, sql string }{
		{"images of no project of ours", fmt.Sprintf(`SELECT count(*) - %d FROM images`, f.images)},
		{"owners beside the first", `SELECT count(*) - 1 FROM owners`},
		{"keys beside the first", `SELECT count(*) - 1 FROM keys`},
		{"verdicts of an attempt that has one", `SELECT count(*) - count(DISTINCT (image_id, attempt)) FROM verdicts`},
		{"arrivals of an attempt that has one", `SELECT count(*) - count(DISTINCT (image_id, detail->>'attempt')) FROM audit WHERE action = 'image.seen'`},
		{"judgements of an attempt that has one", `SELECT count(*) - count(DISTINCT (image_id, detail->>'attempt')) FROM audit WHERE action = 'image.judge'`},
		{"images that expired", `SELECT count(*) FROM audit WHERE action = 'image.expire'`},
		{"jobs that failed for good", `SELECT count(*) FROM river_job WHERE state = 'discarded'`},
	} {
		if n := one[int](s, db, extra.sql); n != 0 {
			s.t.Errorf("there are %d %s", n, extra.what)
		}
	}
	f.verdicts = one[int](s, db, `SELECT count(*) FROM verdicts`)
	f.cancelled = one[int](s, db, `SELECT count(*) FROM river_job WHERE state = 'cancelled'`)
	for _, e := range rows[string](s, db, `SELECT DISTINCT errors[array_upper(errors, 1)]->>'error' FROM river_job WHERE state = 'cancelled' AND errors IS NOT NULL LIMIT 5`) {
		s.t.Logf("a job was cancelled: %s", e)
	}
	for _, b := range s.buckets() {
		f.objects += s.judgeBucket(b, keys)
	}
	return f
}

// complain fails the test, and says so for the first few faults of a kind.
func (s *soak) complain(format string, args ...any) {
	s.t.Helper()
	const few = 5
	s.complaints[format]++
	if n := s.complaints[format]; n <= few {
		s.t.Errorf(format, args...)
	} else if n == few+1 {
		s.t.Errorf("and further ones: "+format, args...)
	}
}

// judgeRound compares one project with its files.
func (s *soak) judgeRound(db *pgx.Conn, round *soakRound, keys map[string]bool, f *findings) {
	s.t.Helper()
	found, err := db.Query(context.Background(), `
		SELECT encode(declared_sha1, 'hex') AS sha1, coalesce(encode(proven_sha1, 'hex'), '') AS proven, i.state, coalesce(bucket, '') AS bucket,
		       filename, i.reasons, i.attempt, coalesce(v.n, 0) AS verdicts, coalesce(a.seen, 0) AS seen, coalesce(a.judged, 0) AS judged,
		       coalesce(o.n, 0) AS attempts
		FROM images i
		LEFT JOIN (SELECT image_id, attempt, etag, state, count(*) AS n FROM verdicts GROUP BY 1, 2, 3, 4) v
		     ON v.image_id = i.id AND v.attempt = i.attempt AND v.etag = i.etag AND v.state = i.state
		LEFT JOIN (SELECT image_id, count(*) FILTER (WHERE action = 'image.seen') AS seen, count(*) FILTER (WHERE action = 'image.judge') AS judged
		           FROM audit WHERE project_id = $1 GROUP BY 1) a ON a.image_id = i.id::text
		LEFT JOIN (SELECT image_id, count(*) AS n FROM attempts GROUP BY 1) o ON o.image_id = i.id
		WHERE i.project_id = $1`, round.pid)
	if err != nil {
		s.t.Fatal(err)
	}
	images, err := pgx.CollectRows(found, pgx.RowToStructByName[soakImage])
	if err != nil {
		s.t.Fatal(err)
	}
	f.images += len(images)
	seen := map[string]bool{}
	for _, img := range images {
		f.attempts += img.Attempts
		keys[round.pid+"/"+img.Filename] = true
		want, known := round.want[img.SHA1]
		switch {
		case !known:
			s.complain("%s: an image %s that nobody uploaded", round.name, img.SHA1)
			continue
		case seen[img.SHA1]:
			s.complain("%s: %s has two images", round.name, want.name)
		}
		seen[img.SHA1] = true
		switch img.State {
		case string(broker.StateReady):
			f.ready++
		case string(broker.StateInvalid):
			f.invalid++
		}
		var reasons []broker.ReasonCode
		for _, r := range img.Reasons {
			reasons = append(reasons, broker.ParseReason(r).Code)
		}
		if img.State != string(want.state) || !slices.Equal(reasons, want.reasons) || img.Proven != img.SHA1 {
			s.complain("%s: %s is %s %v with the bytes %q, want %s %v with %q",
				round.name, want.name, img.State, img.Reasons, img.Proven, want.state, want.reasons, img.SHA1)
		}
		// Each attempt is seen and judged once. A further one is begun by a client
		// that asks again for what is Invalid, and by nothing else.
		if img.Verdicts != 1 || img.Seen != img.Attempt || img.Judged != img.Attempt {
			s.complain("%s: %s in attempt %d has %d verdicts, was seen %d times and judged %d times",
				round.name, want.name, img.Attempt, img.Verdicts, img.Seen, img.Judged)
		}
		if img.Attempt > 1 && want.state == broker.StateReady {
			s.complain("%s: %s is sound and took %d attempts", round.name, want.name, img.Attempt)
		}
	}
	for sum, want := range round.want {
		if !seen[sum] {
			s.complain("%s: %s has no image", round.name, want.name)
		}
	}
	for _, filename := range rows[string](s, db, `SELECT filename FROM attempts WHERE project_id = $1`, round.pid) {
		keys[round.pid+"/"+filename] = true // of a former attempt: its owner's until the sweep of orphans
	}
	for _, id := range rows[string](s, db, `SELECT id::text FROM images WHERE project_id = $1`, round.pid) {
		keys[broker.ThumbKey(round.pid, id)] = true
	}
	missing := 0
	for _, img := range images {
		if img.Bucket == "" {
			missing++
		}
	}
	if missing > 0 {
		s.complain("%s: %d images lie nowhere", round.name, missing)
	}
}

// soakBucket is a bucket as it is, by none of the lines.
type soakBucket struct {
	name string
	list func(ctx context.Context, prefix, after string, max int) ([]storage.Object, error)
}

func (s *soak) buckets() []soakBucket {
	s.t.Helper()
	ctx := context.Background()
	east, err := s3.Open(ctx, s3.Options{Bucket: "east", Endpoint: s.cloud.endpoint, PathStyle: true, AccessKeyID: s3ID, AccessKeySecret: s3Secret})
	if err != nil {
		s.t.Fatal(err)
	}
	gateway, err := local.Open(ctx, local.Options{Dir: filepath.Join(s.data, "objects"), KeyFile: filepath.Join(s.data, "local-bucket.key")})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { gateway.Close() })
	here, err := gateway.Bucket(ctx, local.BucketName)
	if err != nil {
		s.t.Fatal(err)
	}
	return []soakBucket{{"Local", here.List}, {"East", east.List}}
}

// judgeBucket counts the objects; each must lie at an image's key, or where the
// broker tries a bucket out: of that, what a killed process left is an orphan.
func (s *soak) judgeBucket(b soakBucket, keys map[string]bool) (n int) {
	s.t.Helper()
	const page = 1000
	for after := ""; ; {
		objects, err := b.list(context.Background(), "", after, page)
		if err != nil {
			s.t.Fatalf("%s: %v", b.name, err)
		}
		for _, obj := range objects {
			after = obj.Key
			if pid, id, ok := broker.ParseThumbKey(obj.Key); ok && keys[broker.ThumbKey(pid, id)] {
				continue // no image, but of one
			}
			n++
			own := func(prefix string) bool { return strings.HasPrefix(obj.Key, prefix) }
			if !keys[obj.Key] && !slices.ContainsFunc(storage.OwnPrefixes(), own) {
				s.complain("%s: %s belongs to no image", b.name, obj.Key)
			}
		}
		if len(objects) < page {
			return n
		}
	}
}
