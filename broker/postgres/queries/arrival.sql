-- name: SeeObjects :many
-- EventSeen: objects lie at the keys of these attempts. The file name says which
-- attempt, so that late bytes of a former one match nothing.
WITH seen AS (
    SELECT unnest(@filenames::text[]) AS filename, unnest(@etags::text[]) AS etag, unnest(@sizes::bigint[]) AS size
), uploaded AS (
    UPDATE images i SET state = 'Uploaded', bucket = @bucket::text, etag = s.etag, object_size = s.size,
           proven_sha1 = NULL, proven_size = NULL, crc32 = NULL, reasons = '{}', accepted = false, facts = '{}',
           check_failures = 0, check_failing_since = NULL,
           started_at = coalesce(i.started_at, @now::timestamptz), uploaded_at = @now::timestamptz, judged_at = NULL
    FROM seen s
    WHERE i.project_id = @project_id AND i.filename = s.filename AND i.state = any(@from_states::text[])
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
)
INSERT INTO audit (at, action, project_id, image_id, detail)
SELECT @now::timestamptz, 'image.judge', j.project_id, j.id,
       jsonb_build_object('attempt', j.attempt, 'state', j.state, 'reasons', @reasons::text[], 'etag', j.etag)
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
INSERT INTO leases (image_id, holder, expires_at) VALUES (@image_id, @holder, clock_timestamp() + interval '60 s')
ON CONFLICT (image_id) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
WHERE leases.expires_at < clock_timestamp() OR leases.holder = excluded.holder
RETURNING image_id;

-- name: ExtendLease :execrows
UPDATE leases SET expires_at = clock_timestamp() + interval '60 s' WHERE image_id = @image_id AND holder = @holder;

-- name: ReleaseLease :exec
DELETE FROM leases WHERE image_id = @image_id AND holder = @holder;

-- name: DropLeases :execrows
DELETE FROM leases;
