-- name: AnyProject :one
-- Also one whose removal is final: its row stays.
SELECT * FROM projects WHERE id = @id;

-- name: AuditOfProject :many
-- Newest first, by id; an empty argument asks for no narrowing. Names come from
-- where they still are.
SELECT a.id, a.at, a.action, coalesce(a.owner_id, '')::text AS owner_id, coalesce(a.key_id, '')::text AS key_id,
       coalesce(a.image_id, '')::text AS image_id, a.detail,
       coalesce(o.email, '')::text AS email, coalesce(k.hint, '')::text AS key_hint, coalesce(k.name, '')::text AS key_name,
       coalesce(i.name, '')::text AS image_name
FROM audit a
LEFT JOIN owners o ON o.id = a.owner_id
LEFT JOIN keys k ON k.id = a.key_id
LEFT JOIN images i ON i.id = a.image_id
WHERE a.project_id = @project_id::text
  AND (@before::bigint = 0 OR a.id < @before::bigint)
  AND (@action::text = '' OR a.action = @action::text)
  AND (sqlc.narg(since)::timestamptz IS NULL OR a.at >= sqlc.narg(since)::timestamptz)
ORDER BY a.id DESC
LIMIT @max_rows;

-- name: AuditOfProjectImage :many
-- AuditOfProject of one image: a query of its own, for it reads another index.
SELECT a.id, a.at, a.action, coalesce(a.owner_id, '')::text AS owner_id, coalesce(a.key_id, '')::text AS key_id,
       coalesce(a.image_id, '')::text AS image_id, a.detail,
       coalesce(o.email, '')::text AS email, coalesce(k.hint, '')::text AS key_hint, coalesce(k.name, '')::text AS key_name,
       coalesce(i.name, '')::text AS image_name
FROM audit a
LEFT JOIN owners o ON o.id = a.owner_id
LEFT JOIN keys k ON k.id = a.key_id
LEFT JOIN images i ON i.id = a.image_id
WHERE a.image_id = @image_id::text AND a.project_id = @project_id::text
  AND (@before::bigint = 0 OR a.id < @before::bigint)
  AND (@action::text = '' OR a.action = @action::text)
  AND (sqlc.narg(since)::timestamptz IS NULL OR a.at >= sqlc.narg(since)::timestamptz)
ORDER BY a.id DESC
LIMIT @max_rows;

-- name: AuditOfTrace :many
-- The newest lines of one image.
SELECT a.id, a.at, a.action, coalesce(a.owner_id, '')::text AS owner_id, coalesce(a.key_id, '')::text AS key_id, a.detail,
       coalesce(o.email, '')::text AS email, coalesce(k.hint, '')::text AS key_hint, coalesce(k.name, '')::text AS key_name
FROM audit a
LEFT JOIN owners o ON o.id = a.owner_id
LEFT JOIN keys k ON k.id = a.key_id
WHERE a.image_id = @image_id::text
ORDER BY a.id DESC
LIMIT @max_rows;

-- name: ProjectOfAudit :one
-- The project of an image by its story, which outlives its row.
SELECT project_id::text AS project_id FROM audit
WHERE image_id = @image_id::text AND project_id IS NOT NULL
ORDER BY id LIMIT 1;

-- name: TracedImage :one
SELECT * FROM images WHERE id = @id;

-- name: GrantsOfImage :many
-- Never the source: a URL that a client named may be a secret.
SELECT g.attempt, g.bucket, g.kind, coalesce(g.key_id, '')::text AS key_id, g.issued_at, g.expires_at,
       coalesce(k.hint, '')::text AS key_hint, coalesce(k.name, '')::text AS key_name,
       coalesce(o.id, '')::text AS owner_id, coalesce(o.email, '')::text AS email
FROM grants g
LEFT JOIN keys k ON k.id = g.key_id
LEFT JOIN owners o ON o.id = k.owner_id
WHERE g.image_id = @image_id
ORDER BY g.id DESC
LIMIT @max_rows;

-- name: AttemptsOfImage :many
SELECT * FROM attempts WHERE image_id = @image_id ORDER BY attempt DESC LIMIT @max_rows;

-- name: VerdictsOfImage :many
SELECT attempt, bucket, etag, state, reasons, sha1, size, holder, judged_at
FROM verdicts WHERE image_id = @image_id ORDER BY id DESC LIMIT @max_rows;

-- name: HintsOfImage :many
SELECT bucket, hinted_at FROM hints WHERE image_id = @image_id ORDER BY hinted_at, bucket LIMIT @max_rows;

-- name: JobErrorsOfImage :many
-- What failed, of the jobs that River still has. errors is an array of objects,
-- oldest first.
SELECT j.id, j.kind, coalesce((e.error->>'attempt')::integer, 0)::integer AS try,
       coalesce((e.error->>'at')::timestamptz, j.created_at)::timestamptz AS at, coalesce(e.error->>'error', '')::text AS cause
FROM river_job j CROSS JOIN LATERAL unnest(j.errors) WITH ORDINALITY AS e(error, n)
WHERE j.kind = any(@kinds::text[]) AND j.args @> jsonb_build_object('image_id', @image_id::text)
ORDER BY 4 DESC, j.id DESC, e.n DESC
LIMIT @max_rows;

-- name: WatchesOfImage :many
-- Where the broker looks for it: where its present attempt has grants, and where
-- its object is.
SELECT w.bucket, w.looks, w.looked_at, w.next_look_at, w.pause, w.fault
FROM watches w JOIN images i ON i.project_id = w.project_id
WHERE i.id = @image_id AND (w.bucket = i.bucket
    OR EXISTS (SELECT 1 FROM grants g WHERE g.image_id = i.id AND g.attempt = i.attempt AND g.bucket = w.bucket))
ORDER BY w.bucket;

-- name: ForgetImage :exec
-- The row of a removed image goes with all that hangs on it; its story stays.
WITH gone AS (
    DELETE FROM images i WHERE i.id = @id AND i.state = 'Removed' RETURNING i.id, i.project_id
)
INSERT INTO audit (at, action, project_id, image_id)
SELECT now(), 'image.final', g.project_id, g.id FROM gone g;

-- name: RevokeTiedKeys :exec
-- A key that is tied to a project ends with it.
WITH revoked AS (
    UPDATE keys k SET revoked_at = @now::timestamptz WHERE k.project_id = @project_id::text AND k.revoked_at IS NULL RETURNING k.id, k.name, k.hint
)
INSERT INTO audit (at, action, project_id, detail)
SELECT @now::timestamptz, 'key.revoke', @project_id::text, jsonb_build_object('key', r.id, 'name', r.name, 'hint', r.hint) FROM revoked r;

-- name: LastLooks :many
SELECT DISTINCT ON (w.bucket) w.bucket, w.looked_at, w.fault FROM watches w WHERE w.looks > 0 ORDER BY w.bucket, w.looked_at DESC;
