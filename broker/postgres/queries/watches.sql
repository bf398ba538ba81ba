-- name: AddWatch :exec
INSERT INTO watches (project_id, bucket, next_look_at)
SELECT p.id, @bucket, now() FROM projects p WHERE p.id = @project_id AND p.removed_at IS NULL
ON CONFLICT (project_id, bucket) DO NOTHING;

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

-- name: ClaimWatches :many
-- Moves next_look_at on before the look, so that nobody else looks and a hint
-- that comes meanwhile is kept.
UPDATE watches w SET next_look_at = now() + w.pause, looked_at = now()
FROM (SELECT d.project_id, d.bucket FROM watches d
      WHERE d.next_look_at <= now() AND d.bucket = any(@buckets::text[])
      ORDER BY d.next_look_at LIMIT @max_rows FOR NO KEY UPDATE SKIP LOCKED) due
WHERE w.project_id = due.project_id AND w.bucket = due.bucket
RETURNING w.project_id, w.bucket, w.pause, w.pages;

-- name: OpenUploads :many
SELECT i.id, i.attempt, i.filename, i.grants_end,
       ARRAY(SELECT DISTINCT o.bucket FROM grants o WHERE o.image_id = i.id AND o.attempt = i.attempt)::text[] AS buckets
FROM images i
WHERE i.project_id = @project_id AND i.state IN ('Pending', 'Uploading')
  AND EXISTS (SELECT 1 FROM grants g WHERE g.image_id = i.id AND g.attempt = i.attempt AND g.bucket = @bucket);

-- name: CountObjects :one
SELECT count(*) FROM images WHERE project_id = @project_id AND bucket = @bucket::text;

-- name: FinishLook :exec
UPDATE watches SET pause = @pause::interval, pages = @pages,
       next_look_at = least(next_look_at, now() + @pause::interval)
WHERE project_id = @project_id AND bucket = @bucket;

-- name: LockWatch :one
-- Waits for every registration that shares the row.
SELECT bucket FROM watches WHERE project_id = @project_id AND bucket = @bucket FOR UPDATE;

-- name: SleepWatch :execrows
UPDATE watches w SET next_look_at = NULL
WHERE w.project_id = @project_id AND w.bucket = @bucket AND NOT EXISTS (
    SELECT 1 FROM images i JOIN grants g ON g.image_id = i.id AND g.attempt = i.attempt
    WHERE i.project_id = @project_id AND i.state IN ('Pending', 'Uploading') AND g.bucket = @bucket);

-- name: ClaimReconciles :many
UPDATE watches w SET reconciled_at = now()
FROM (SELECT d.project_id, d.bucket FROM watches d JOIN projects p ON p.id = d.project_id
      WHERE d.reconciled_at < now() - interval '24 h' AND d.bucket = any(@buckets::text[]) AND p.removed_at IS NULL
      ORDER BY d.reconciled_at LIMIT @max_rows FOR NO KEY UPDATE OF d SKIP LOCKED) due
WHERE w.project_id = due.project_id AND w.bucket = due.bucket
RETURNING w.project_id, w.bucket;

-- name: ClaimRemovedImages :many
-- Removed images whose objects are due for deletion, of projects that live on.
UPDATE images SET sweep_at = now() + interval '10 min'
WHERE id IN (SELECT i.id FROM images i JOIN projects p ON p.id = i.project_id
             WHERE i.sweep_at <= @now::timestamptz AND p.removed_at IS NULL
             ORDER BY i.sweep_at LIMIT @max_rows FOR UPDATE OF i SKIP LOCKED)
RETURNING *;

-- name: PlacesOfImage :many
-- Every key that a grant of this image ever named, with its bucket. A grant of
-- an attempt that has not come (see SpareGrant) names the key it would have.
SELECT DISTINCT g.bucket, CASE
    WHEN g.attempt > i.attempt THEN attempt_filename(i.declared_sha1, g.attempt, coalesce(substring(i.filename FROM '\.[a-z0-9]+$'), ''))
    ELSE coalesce(a.filename, i.filename) END::text AS filename
FROM grants g JOIN images i ON i.id = g.image_id
LEFT JOIN attempts a ON a.image_id = g.image_id AND a.attempt = g.attempt
WHERE g.image_id = @image_id;

-- name: SweepImageAgain :exec
UPDATE images SET sweep_at = @sweep_at::timestamptz WHERE id = @id AND state = 'Removed';

-- name: DeleteImage :exec
DELETE FROM images WHERE id = @id AND state = 'Removed';

-- name: UnheldUploads :many
-- Uploaded images that nobody holds and no job waits for: their worker died.
-- Those of a removed project wait for its undo; a job would find nothing to do.
-- A job that began to run a little while ago may not have its lease yet.
SELECT i.id, i.attempt, i.etag::text AS etag, i.object_size::bigint AS object_size
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
