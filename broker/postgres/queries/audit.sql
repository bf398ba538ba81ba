-- name: Audit :exec
INSERT INTO audit (at, action, owner_id, key_id, project_id, image_id, detail)
VALUES (@at, @action, sqlc.narg(owner_id), sqlc.narg(key_id), sqlc.narg(project_id), sqlc.narg(image_id), @detail);

-- name: AuditOfImage :many
SELECT * FROM audit WHERE image_id = @image_id::text ORDER BY id LIMIT @max_rows;

-- name: ChangesBefore :one
-- The newest line older than a time: those that watch begin behind it.
SELECT coalesce((SELECT a.id FROM audit a WHERE a.project_id = @project_id::text AND a.at < @before::timestamptz
                 ORDER BY a.id DESC LIMIT 1), 0)::bigint AS id;

-- name: Changes :many
SELECT id, image_id::text AS image_id FROM audit
WHERE project_id = @project_id::text AND id > @after AND image_id IS NOT NULL
ORDER BY id
LIMIT @max_rows;
