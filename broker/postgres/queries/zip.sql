-- name: CreateLink :exec
INSERT INTO links (hash, project_id, key_id, created_at, expires_at)
VALUES (@hash, @project_id, @key_id, @created_at, @expires_at);

-- name: SweepLinks :exec
DELETE FROM links WHERE expires_at < @now::timestamptz;

-- name: LinkByHash :one
SELECT sqlc.embed(links), sqlc.embed(keys), sqlc.embed(owners)
FROM links JOIN keys ON keys.id = links.key_id JOIN owners ON owners.id = keys.owner_id
WHERE links.hash = @hash AND links.expires_at > @now::timestamptz;

-- name: ZipTask :one
SELECT tasks.state, tasks.token, sqlc.embed(projects)
FROM tasks JOIN projects ON projects.id = tasks.project_id
WHERE tasks.id = @id;
