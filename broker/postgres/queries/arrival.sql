-- name: SeeObjects :many
-- EventSeen: objects lie at the keys of these attempts. The file name says which
-- attempt, so that late bytes of a former one match nothing.
WITH seen AS (
    SELECT unnest(@filenames::text[]) AS filename, unnest(@etags::text[]) AS etag, unnest(@sizes::bigint[]) AS size
), uploaded AS (
    UPDATE images i SET state = 'Uploaded', bucket = @bucket::text, etag = s.etag, object_size = s.size, swept_at = NULL,
           proven_sha1 = NULL, proven_size = NULL, crc32 = NULL, reasons = '{}', accepted = false, facts = '{}',
           check_failures = 0, check_failing_since = NULL,
           started_at = coalesce(i.started_at, @now::timestamptz), uploaded_at = @now::timestamptz, judged_at = NULL
    -- Locked in one order: two that see the same objects can't wait for each other.
    FROM (SELECT l.id, t.etag, t.size FROM seen t JOIN images l ON l.project_id = @project_id AND l.filename = t.filename
          ORDER BY l.id FOR NO KEY UPDATE OF l) s
    WHERE i.id = s.id AND i.project_id = @project_id AND i.state = any(@from_states::text[])
      AND i.etag IS DISTINCT FROM s.etag AND (i.bucket IS NULL OR i.bucket = @bucket::text)
      AND EXISTS (SELECT 1 FROM grants g WHERE g.image_id = i.id AND g.attempt = i.attempt AND g.bucket = @bucket::text)
    RETURNING i.id, i.attempt, i.etag, i.object_size, i.project_id
), audited AS (
    INSERT INTO audit (at, action, project_id, image_id, detail)
    SELECT @now::timestamptz, 'image.seen', u.project_id, u.id,
           jsonb_build_object('attempt', u.attempt, 'bucket', @bucket::text, 'etag', u.etag, 'size', u.object_size)
    FROM uploaded u
)
SELECT u.id, u.attempt, u.etag::text AS etag, u.object_size::bigint AS object_size FROM uploaded u;

-- name: ExpireImages :execrows
-- EventExpire. grants_end is on the row, so a grant given meanwhile is noticed.
WITH over AS (
    SELECT unnest(@ids::text[]) AS id, unnest(@attempts::integer[]) AS attempt
), expired AS (
    UPDATE images i SET state = 'Invalid', reasons = ARRAY[@reason::text], judged_at = @now::timestamptz
    FROM over o
    WHERE i.id = o.id AND i.attempt = o.attempt AND i.state = any(@from_states::text[])
      AND i.grants_end <= @grants_before::timestamptz
    RETURNING i.id, i.attempt, i.project_id
)
INSERT INTO audit (at, action, project_id, image_id, detail)
SELECT @now::timestamptz, 'image.expire', e.project_id, e.id, jsonb_build_object('attempt', e.attempt) FROM expired e;

-- name: JudgeImage :execrows
-- EventReady, EventInvalid, EventUnchecked.
WITH judged AS (
    UPDATE images i SET state = @to_state::text, reasons = @reasons::text[], proven_sha1 = sqlc.narg(sha1)::bytea,
           proven_size = sqlc.narg(size)::bigint, crc32 = sqlc.narg(crc32)::bigint, facts = @facts::jsonb,
           judged_at = @now::timestamptz
    WHERE i.id = @id AND i.state = any(@from_states::text[]) AND i.attempt = @attempt AND i.etag = @etag::text
    RETURNING i.id, i.attempt, i.project_id, i.bucket, i.etag, i.state
), said AS (
    INSERT INTO verdicts (image_id, attempt, bucket, etag, state, reasons, sha1, crc32, size, facts, holder, judged_at)
    SELECT j.id, j.attempt, j.bucket, j.etag, j.state, @reasons::text[], sqlc.narg(sha1)::bytea, sqlc.narg(crc32)::bigint,
           sqlc.narg(size)::bigint, @facts::jsonb, @holder::text, @now::timestamptz
    FROM judged j
), released AS (
    -- With the verdict, or a worker that dies now would leave it for ever.
    DELETE FROM leases l USING judged j WHERE l.image_id = j.id AND l.holder = @holder::text
)
INSERT INTO audit (at, action, project_id, image_id, detail)
SELECT @now::timestamptz, 'image.judge', j.project_id, j.id,
       jsonb_build_object('attempt', j.attempt, 'state', j.state, 'reasons', @reasons::text[], 'etag', j.etag, 'by', @holder::text)
FROM judged j;

-- name: FetchFailed :execrows
-- EventExpire of an image whose bytes the broker was to fetch, unless a client
-- still has a grant of his own for it.
WITH ended AS (
    UPDATE images i SET state = 'Invalid', reasons = ARRAY[@reason::text], judged_at = @now::timestamptz
    WHERE i.id = @id AND i.attempt = @attempt AND i.state = any(@from_states::text[])
      AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.image_id = i.id AND g.attempt = i.attempt
                      AND g.kind <> 'fetch' AND g.expires_at > @grants_before::timestamptz)
    RETURNING i.id, i.attempt, i.project_id
)
INSERT INTO audit (at, action, project_id, image_id, detail)
SELECT @now::timestamptz, 'image.expire', e.project_id, e.id, jsonb_build_object('attempt', e.attempt, 'reason', @reason::text) FROM ended e;

-- name: CountCheckFailure :one
UPDATE images SET check_failures = check_failures + 1, check_failing_since = coalesce(check_failing_since, @now::timestamptz)
WHERE id = @id AND state = 'Uploaded' AND attempt = @attempt AND etag = @etag::text
RETURNING check_failures, check_failing_since;

-- name: AcquireLease :one
-- was is who held it and let it run out: he died at this image, or hung.
WITH before AS (
    SELECT l.holder FROM leases l WHERE l.image_id = @image_id
)
INSERT INTO leases (image_id, holder, expires_at) VALUES (@image_id, @holder, clock_timestamp() + interval '60 s')
ON CONFLICT (image_id) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
WHERE leases.expires_at < clock_timestamp() OR leases.holder = excluded.holder
RETURNING coalesce((SELECT b.holder FROM before b WHERE b.holder <> @holder), '')::text AS was;

-- name: ExtendLease :execrows
UPDATE leases SET expires_at = clock_timestamp() + interval '60 s' WHERE image_id = @image_id AND holder = @holder;

-- name: ReleaseLease :exec
DELETE FROM leases WHERE image_id = @image_id AND holder = @holder;

-- name: ForgetLeases :exec
-- Those of the dead stay while their image waits for a check, for the next holder
-- to know.
DELETE FROM leases l WHERE l.expires_at < clock_timestamp()
  AND NOT EXISTS (SELECT 1 FROM images i WHERE i.id = l.image_id AND i.state IN ('Pending', 'Uploading', 'Uploaded'));

-- name: DropLeases :execrows
-- They stay as those of the dead, for the next holder to know.
UPDATE leases SET expires_at = 'epoch';

-- name: RescueJobs :execrows
-- Jobs that run since before that time, and whose image nobody holds: their
-- worker died. River's own rescue would wait for as long as the longest job may
-- take. One that was at its last attempt may try once more: to be killed is no
-- failure of the job. What was killed again and again waits longer each time, for
-- it may be what kills.
UPDATE river_job j SET state = 'available', scheduled_at = now() + (power(2, least(j.attempt, 10)) - 2) * interval '1 s',
       max_attempts = greatest(j.max_attempts, least(j.attempt + 1, 32767))
WHERE j.state = 'running' AND j.kind = any(@kinds::text[]) AND j.attempted_at < @before::timestamptz
  AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.image_id = j.args->>'image_id' AND l.expires_at >= clock_timestamp());
