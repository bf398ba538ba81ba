-- name: Audit :exec
INSERT INTO audit (at, action, owner_id, key_id, project_id, image_id, detail)
VALUES (@at, @action, sqlc.narg(owner_id), sqlc.narg(key_id), sqlc.narg(project_id), sqlc.narg(image_id), @detail);

-- name: AuditOfImage :many
SELECT * FROM audit WHERE image_id = @image_id::text ORDER BY id LIMIT @max_rows;
