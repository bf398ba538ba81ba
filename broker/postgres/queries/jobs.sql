-- name: OpenJobs :many
-- Jobs that wait or run, and those that failed and left their image where it is:
-- a failure that the image has moved on from is history. Of several that failed
-- for one image the last one tells. To an image of a removed project nothing can
-- be done. What failed comes first: a long queue must not hide it.
SELECT j.id, j.kind, j.state::text AS state, j.attempt, j.max_attempts, j.created_at, j.scheduled_at,
       CASE WHEN j.state = 'running' THEN coalesce(j.attempted_at, j.created_at)
            WHEN j.state IN ('cancelled', 'discarded') THEN coalesce(j.finalized_at, j.created_at)
            WHEN j.scheduled_at <= now() THEN greatest(j.created_at, j.attempted_at, j.scheduled_at)
            ELSE greatest(j.created_at, j.attempted_at) END::timestamptz AS since,
       coalesce(j.args->>'image_id', '')::text AS image_id,
       coalesce(j.errors[array_upper(j.errors, 1)]->>'error', '')::text AS cause,
       coalesce(i.state, '')::text AS image_state
FROM river_job j
LEFT JOIN images i ON i.id = j.args->>'image_id'
LEFT JOIN projects p ON p.id = i.project_id
WHERE j.state IN ('available', 'pending', 'running', 'retryable', 'scheduled')
   OR j.state IN ('cancelled', 'discarded') AND (NOT j.args ? 'image_id'
      OR p.removed_at IS NULL AND i.swept_at IS NULL AND i.attempt = (j.args->>'attempt')::integer
         AND CASE WHEN j.args ? 'etag'
             THEN i.etag = j.args->>'etag' AND (i.state = 'Uploaded' OR i.state = 'Invalid' AND split_part(i.reasons[1], ':', 1) = 'unchecked')
             ELSE i.state = 'Invalid' AND split_part(i.reasons[1], ':', 1) = 'expired' END
         AND NOT EXISTS (SELECT 1 FROM river_job k WHERE k.id > j.id AND k.kind = j.kind
                         AND k.args @> jsonb_build_object('image_id', i.id, 'attempt', i.attempt)))
ORDER BY j.state IN ('cancelled', 'discarded') DESC, j.state = 'running' DESC, j.id
LIMIT @max_rows;

-- name: UncheckedImages :many
-- Images that could not be checked and still can be, whether River remembers
-- their jobs or not.
SELECT i.id, i.attempt, i.etag::text AS etag, i.reasons[1]::text AS reason, i.judged_at::timestamptz AS judged_at, i.check_failures
FROM images i JOIN projects p ON p.id = i.project_id AND p.removed_at IS NULL
WHERE i.state = 'Invalid' AND split_part(i.reasons[1], ':', 1) = 'unchecked' AND cardinality(i.reasons) = 1
  AND i.swept_at IS NULL AND i.etag IS NOT NULL
ORDER BY i.judged_at, i.id
LIMIT @max_rows;

-- name: RecheckImage :one
-- EventRecheck: an operator has what could not be checked tried again.
WITH again AS (
    UPDATE images i SET state = 'Uploaded', reasons = '{}', judged_at = NULL, facts = '{}', check_failures = 0, check_failing_since = NULL
    WHERE i.id = @id AND i.state = any(@from_states::text[])
      AND cardinality(i.reasons) = 1 AND split_part(i.reasons[1], ':', 1) = 'unchecked'
      AND i.swept_at IS NULL AND i.etag IS NOT NULL
      AND EXISTS (SELECT 1 FROM projects p WHERE p.id = i.project_id AND p.removed_at IS NULL)
    RETURNING i.id, i.project_id, i.attempt, i.etag, i.object_size, i.bucket
), audited AS (
    INSERT INTO audit (at, action, owner_id, key_id, project_id, image_id, detail)
    SELECT @now::timestamptz, 'image.recheck', nullif(@owner_id::text, ''), nullif(@key_id::text, ''), a.project_id, a.id,
           jsonb_build_object('attempt', a.attempt, 'etag', a.etag)
           || CASE WHEN @key_id::text = '' THEN '{"operator": true}'::jsonb ELSE '{}'::jsonb END
    FROM again a
)
SELECT a.id, a.attempt, a.etag::text AS etag, a.object_size::bigint AS object_size, a.bucket::text AS bucket FROM again a;

-- name: ReviveJob :execrows
-- The job that gave up on an object begins again from its first try; what failed
-- before stays on it. No row: River has forgotten it.
UPDATE river_job SET state = 'available', attempt = 0, max_attempts = @max_attempts, attempted_at = NULL, finalized_at = NULL, scheduled_at = now()
WHERE id = (SELECT k.id FROM river_job k
            WHERE k.kind = @kind AND k.state IN ('cancelled', 'discarded')
              AND k.args @> jsonb_build_object('image_id', @image_id::text, 'attempt', @attempt::integer, 'etag', @etag::text)
            ORDER BY k.id DESC LIMIT 1 FOR UPDATE);

-- name: WaitingJobsOfImage :many
-- The jobs of an image that wait or run.
SELECT j.id, j.state::text AS state FROM river_job j
WHERE j.state IN ('available', 'pending', 'running', 'retryable', 'scheduled')
  AND j.args @> jsonb_build_object('image_id', @image_id::text)
ORDER BY j.id;

-- name: ImageOfJob :one
-- The image whatever became of its project, for an operator's words.
SELECT i.state, i.attempt, coalesce(i.etag, '')::text AS etag, i.reasons, i.swept_at, (p.removed_at IS NOT NULL)::boolean AS project_removed
FROM images i JOIN projects p ON p.id = i.project_id
WHERE i.id = @id;
