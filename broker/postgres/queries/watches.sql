-- name: AddWatch :exec
INSERT INTO watches (project_id, bucket, next_look_at)
SELECT p.id, @bucket, now() FROM projects p WHERE p.id = @project_id AND p.removed_at IS NULL
ON CONFLICT (project_id, bucket) DO NOTHING;

-- name: SessionGiven :exec
-- Writes only what is new: one session is given to many. The watch may be asleep
-- and stay so, for no image waits; etags are compared all the same.
INSERT INTO watches (project_id, bucket, session_ends, reconcile_at)
VALUES (@project_id, @bucket, @until::timestamptz, now() + interval '1 min')
ON CONFLICT (project_id, bucket) DO UPDATE
SET session_ends = excluded.session_ends,
    reconcile_at = least(coalesce(watches.reconcile_at, 'infinity'), now() + interval '1 min')
WHERE watches.session_ends < excluded.session_ends;

-- name: WakeWatch :exec
UPDATE watches SET next_look_at = greatest(now(), looked_at + interval '1 s'), pause = interval '1 s'
WHERE project_id = @project_id AND bucket = @bucket
  AND (next_look_at IS NULL OR next_look_at > greatest(now(), looked_at + interval '1 s'));

-- name: TouchWatches :execrows
-- Makes the project's watches due, at most once a second each. A sleeping one
-- has nothing to look for.
UPDATE watches SET next_look_at = greatest(now(), looked_at + interval '1 s')
WHERE project_id = @project_id AND next_look_at > greatest(now(), looked_at + interval '1 s');

-- name: WakeWatchesOf :exec
-- Makes the watches of these images due, also sleeping ones.
UPDATE watches w SET next_look_at = greatest(now(), w.looked_at + interval '1 s'), pause = interval '1 s'
WHERE w.project_id = @project_id AND w.bucket IN (
        SELECT g.bucket FROM grants g JOIN images i ON i.id = g.image_id AND i.attempt = g.attempt
        WHERE i.project_id = @project_id AND i.id = any(@ids::text[]))
  AND (w.next_look_at IS NULL OR w.next_look_at > greatest(now(), w.looked_at + interval '1 s'));

-- name: CallWatchesOf :exec
-- CallWatch for the places of these images.
UPDATE watches w SET next_look_at = least(coalesce(w.next_look_at, 'infinity'), greatest(now(), w.looked_at + interval '1 s')),
       pause = interval '1 s'
WHERE w.project_id = @project_id AND w.bucket IN (
    SELECT g.bucket FROM grants g JOIN images i ON i.id = g.image_id AND i.attempt = g.attempt
    WHERE i.project_id = @project_id AND i.id = any(@ids::text[]));

-- name: ClaimWatches :many
-- Up to rooms of each bucket. Moves next_look_at on before the look, so that
-- nobody else looks and a hint that comes meanwhile is kept.
UPDATE watches w SET next_look_at = now() + w.pause, looked_at = now(), looks = w.looks + 1
FROM (SELECT unnest(@buckets::text[]) AS bucket, unnest(@rooms::integer[]) AS room) b
CROSS JOIN LATERAL (
    SELECT d.project_id, d.bucket FROM watches d
    WHERE d.bucket = b.bucket AND d.next_look_at <= now()
    ORDER BY d.next_look_at LIMIT b.room FOR NO KEY UPDATE SKIP LOCKED) due
WHERE w.project_id = due.project_id AND w.bucket = due.bucket
RETURNING w.project_id, w.bucket, w.pause, w.pages;

-- name: OpenUploads :many
-- The images that wait for their bytes and have a grant in the bucket.
SELECT i.id, i.attempt, i.filename, i.grants_end,
       ARRAY(SELECT DISTINCT o.bucket FROM grants o WHERE o.image_id = i.id AND o.attempt = i.attempt)::text[] AS buckets
FROM images i
WHERE i.project_id = @project_id AND i.state IN ('Pending', 'Uploading')
  AND EXISTS (SELECT 1 FROM grants g WHERE g.image_id = i.id AND g.attempt = i.attempt AND g.bucket = @bucket);

-- name: CountObjects :one
SELECT count(*) FROM images WHERE project_id = @project_id AND bucket = @bucket::text;

-- name: HintedImages :many
-- Others that somebody hinted at.
SELECT i.id, i.attempt, i.filename, h.hinted_at
FROM hints h JOIN images i ON i.id = h.image_id
WHERE h.project_id = @project_id AND h.bucket = @bucket;

-- name: TakeHints :exec
-- A hint that came again meanwhile is for the next look.
DELETE FROM hints h USING (SELECT unnest(@image_ids::text[]) AS image_id, unnest(@times::timestamptz[]) AS hinted_at) t
WHERE h.image_id = t.image_id AND h.bucket = @bucket AND h.hinted_at <= t.hinted_at;

-- name: HintObjects :many
-- Notes hints for those of these files that are an image's and are not known
-- already; open images need none, for every look asks for them.
WITH told AS (
    SELECT unnest(@project_ids::text[]) AS project_id, unnest(@filenames::text[]) AS filename, unnest(@etags::text[]) AS etag
), known AS (
    SELECT DISTINCT i.id, i.project_id, i.state IN ('Pending', 'Uploading') AS open
    FROM told t JOIN images i ON i.project_id = t.project_id AND i.filename = t.filename
    WHERE i.state <> 'Removed' AND (i.bucket IS NULL OR i.bucket = @bucket::text)
      AND (t.etag = '' OR i.etag IS NULL OR lower(i.etag) <> lower(t.etag))
      AND EXISTS (SELECT 1 FROM grants g WHERE g.image_id = i.id AND g.attempt = i.attempt AND g.bucket = @bucket::text)
), hinted AS (
    INSERT INTO hints (image_id, bucket, project_id, hinted_at)
    SELECT k.id, @bucket::text, k.project_id, clock_timestamp() FROM known k WHERE NOT k.open ORDER BY k.id
    ON CONFLICT (image_id, bucket) DO UPDATE SET hinted_at = excluded.hinted_at
)
SELECT k.project_id, count(*) AS n FROM known k GROUP BY k.project_id ORDER BY k.project_id;

-- name: HintImages :execrows
-- The same for images that a client says are there although they are no longer
-- open: the bytes of an expired one may have come late, or others over bad ones.
INSERT INTO hints (image_id, bucket, project_id, hinted_at)
SELECT DISTINCT ON (i.id, g.bucket) i.id, g.bucket, i.project_id, clock_timestamp()
FROM images i JOIN grants g ON g.image_id = i.id AND g.attempt = i.attempt
WHERE i.project_id = @project_id AND i.id = any(@ids::text[]) AND i.state = 'Invalid'
  AND (i.bucket IS NULL OR g.bucket = i.bucket)
ORDER BY i.id, g.bucket
ON CONFLICT (image_id, bucket) DO UPDATE SET hinted_at = excluded.hinted_at;

-- name: CallWatch :exec
-- Makes a place due at once, also a sleeping one, once a second at most. The row
-- is written whatever it says: a look that claims it at this moment has to wait,
-- and sees what this transaction hinted at.
UPDATE watches SET next_look_at = least(coalesce(next_look_at, 'infinity'), greatest(now(), looked_at + interval '1 s')),
       pause = interval '1 s'
WHERE project_id = @project_id AND bucket = @bucket;

-- name: FaultyLook :exec
-- A look that failed. The next one comes after a pause that grows and is spread,
-- so that a bucket that comes back is not met by everything at once.
UPDATE watches SET pause = @pause::interval, fault = @fault, next_look_at = greatest(next_look_at, now() + @wait::interval)
WHERE project_id = @project_id AND bucket = @bucket;

-- name: FinishLook :exec
UPDATE watches SET pause = @pause::interval, pages = @pages, fault = '',
       reconcile_at = coalesce(reconcile_at, now() + interval '1 min'),
       next_look_at = least(next_look_at, now() + @pause::interval)
WHERE project_id = @project_id AND bucket = @bucket;

-- name: LockWatch :one
-- Waits for every registration that shares the row.
SELECT bucket FROM watches WHERE project_id = @project_id AND bucket = @bucket FOR UPDATE;

-- name: SleepWatch :execrows
-- Until the last grant ends somebody may overwrite what is Ready.
UPDATE watches w SET next_look_at = NULL, fault = '', reconcile_at = least(w.reconcile_at, now() + interval '1 min')
WHERE w.project_id = @project_id AND w.bucket = @bucket AND NOT EXISTS (
    SELECT 1 FROM images i JOIN grants g ON g.image_id = i.id AND g.attempt = i.attempt
    WHERE i.project_id = @project_id AND i.state IN ('Pending', 'Uploading') AND g.bucket = @bucket)
  AND NOT EXISTS (SELECT 1 FROM hints h WHERE h.project_id = @project_id AND h.bucket = @bucket);

-- name: ClaimReconciles :many
-- Places whose etags were last compared a day ago, or earlier where a grant or a
-- session may still overwrite something: then every minute, every ten for a long
-- prefix, and once more when the last grant is over. A comparison that does not
-- come to its end is due again in ten minutes. sweep is true once a day.
UPDATE watches w SET reconciled_at = now(), swept_at = CASE WHEN due.sweep THEN now() ELSE w.swept_at END,
    reconcile_at = CASE WHEN g.ends > now()
        THEN least(g.ends, now() + least(greatest(w.pages, 1) * interval '6 s' + interval '54 s', interval '10 min'))
        ELSE now() + interval '10 min' END
FROM (SELECT d.project_id, d.bucket, d.session_ends, d.swept_at < now() - interval '24 h' AS sweep
      FROM watches d JOIN projects p ON p.id = d.project_id
      WHERE (d.reconcile_at <= now() OR d.reconciled_at < now() - interval '24 h')
        AND d.bucket = any(@buckets::text[]) AND p.removed_at IS NULL
      ORDER BY d.reconciled_at LIMIT @max_rows FOR NO KEY UPDATE OF d SKIP LOCKED) due
CROSS JOIN LATERAL (
    SELECT greatest(max(x.expires_at), due.session_ends) + interval '5 min' AS ends FROM grants x
    WHERE x.project_id = due.project_id AND x.expires_at > now() - interval '5 min') g
WHERE w.project_id = due.project_id AND w.bucket = due.bucket
RETURNING w.project_id, w.bucket, due.sweep::boolean AS sweep, (g.ends > now())::boolean AS granted;

-- name: FinishReconcile :exec
-- Nobody could write when this comparison began: nothing is left to compare before
-- the next day. One that somebody called for meanwhile stays due.
UPDATE watches w SET reconcile_at = NULL
WHERE w.project_id = @project_id AND w.bucket = @bucket AND w.reconcile_at > now() + interval '1 min'
  AND w.session_ends <= now() - interval '5 min'
  AND NOT EXISTS (SELECT 1 FROM grants x WHERE x.project_id = @project_id AND x.expires_at > now() - interval '5 min');

-- name: ClaimRemovedImages :many
-- Removed images whose objects are due for deletion, of projects that live on.
UPDATE images SET sweep_at = now() + interval '10 min'
WHERE id IN (SELECT i.id FROM images i JOIN projects p ON p.id = i.project_id
             WHERE i.sweep_at <= @now::timestamptz AND p.removed_at IS NULL
             ORDER BY i.sweep_at LIMIT @max_rows FOR UPDATE OF i SKIP LOCKED)
RETURNING *;

-- name: PlacesOfImage :many
-- Every key that a grant of this image ever named, with its bucket. A grant of
-- an attempt that has not come (see SpareGrant) names the key it would have. No
-- two images share a key; should they ever, it is not deleted for the one's sake.
WITH named AS (
    SELECT DISTINCT g.bucket, i.project_id, i.id, CASE
        WHEN g.attempt > i.attempt THEN attempt_filename(i.declared_sha1, g.attempt, coalesce(substring(i.filename FROM '\.[a-z0-9]+$'), ''))
        ELSE coalesce(a.filename, i.filename) END::text AS filename
    FROM grants g JOIN images i ON i.id = g.image_id
    LEFT JOIN attempts a ON a.image_id = g.image_id AND a.attempt = g.attempt
    WHERE g.image_id = @image_id
)
SELECT n.bucket, n.filename FROM named n
WHERE NOT EXISTS (SELECT 1 FROM images o WHERE o.project_id = n.project_id AND o.filename = n.filename AND o.id <> n.id);

-- name: SweepImageAgain :exec
UPDATE images SET sweep_at = @sweep_at::timestamptz WHERE id = @id AND state = 'Removed';

-- name: UnheldUploads :many
-- Uploaded images that nobody holds and no job waits for: their worker died.
-- Those of a removed project wait for its undo; a job would find nothing to do.
-- A job that began to run a little while ago may not have its lease yet.
SELECT i.id, i.attempt, i.bucket::text AS bucket, i.etag::text AS etag, i.object_size::bigint AS object_size
FROM images i
JOIN projects p ON p.id = i.project_id AND p.removed_at IS NULL
LEFT JOIN leases l ON l.image_id = i.id AND l.expires_at > clock_timestamp()
WHERE i.state = 'Uploaded' AND i.uploaded_at <= @before::timestamptz AND l.image_id IS NULL
  AND NOT EXISTS (SELECT 1 FROM river_job j
                  WHERE j.kind = 'validate'
                    AND (j.state IN ('available', 'pending', 'retryable', 'scheduled')
                         OR j.state = 'running' AND j.attempted_at > @before::timestamptz)
                    AND j.args @> jsonb_build_object('image_id', i.id))
ORDER BY i.uploaded_at
LIMIT @max_rows;

-- name: WakeAllWatches :exec
UPDATE watches SET next_look_at = now(), pause = interval '1 s' WHERE project_id = @project_id;

-- name: HeldETags :many
SELECT filename, etag::text AS etag FROM images
WHERE project_id = @project_id AND bucket = @bucket::text AND filename = any(@filenames::text[]) AND etag IS NOT NULL;
