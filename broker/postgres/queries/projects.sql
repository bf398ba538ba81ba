-- name: CreateProject :execrows
-- No row: there is one of this tag.
INSERT INTO projects (id, owner_id, name, kind, tag, created_at)
VALUES (@id, @owner_id, @name, @kind, sqlc.narg(tag), @created_at)
ON CONFLICT DO NOTHING;

-- name: Project :one
SELECT * FROM projects WHERE id = @id AND final_at IS NULL;

-- name: ListProjects :many
-- Newest first. query is an id, a prefix of one, or an exact name; an empty
-- argument asks for no narrowing.
SELECT * FROM projects
WHERE owner_id = @owner_id AND removed_at IS NULL
  AND (@only_id::text = '' OR id = @only_id::text)
  AND (@query::text = '' OR name = @query::text OR starts_with(id::text, @query::text))
  AND (@after::text = '' OR id < @after::text)
ORDER BY id DESC
LIMIT @max_rows;

-- name: WindowProjects :many
-- Newest first; after and before are ids in that order. search is part of a
-- name or the beginning of an id, in either case.
SELECT * FROM projects
WHERE owner_id = @owner_id AND removed_at IS NULL
  AND (@only_id::text = '' OR id = @only_id::text)
  AND (@search::text = '' OR strpos(lower(name), lower(@search::text)) > 0 OR starts_with(id::text, upper(@search::text)))
  AND (@after::text = '' OR id < @after::text) AND id > @before::text
ORDER BY id DESC LIMIT @max_rows;

-- name: WindowProjectsBack :many
SELECT * FROM projects
WHERE owner_id = @owner_id AND removed_at IS NULL
  AND (@only_id::text = '' OR id = @only_id::text)
  AND (@search::text = '' OR strpos(lower(name), lower(@search::text)) > 0 OR starts_with(id::text, upper(@search::text)))
  AND (@after::text = '' OR id < @after::text) AND id > @before::text
ORDER BY id LIMIT @max_rows;

-- name: CountProjects :one
SELECT count(*) FROM projects
WHERE owner_id = @owner_id AND removed_at IS NULL
  AND (@only_id::text = '' OR id = @only_id::text)
  AND (@search::text = '' OR strpos(lower(name), lower(@search::text)) > 0 OR starts_with(id::text, upper(@search::text)));

-- name: ProjectsByPrefix :many
SELECT * FROM projects
WHERE owner_id = @owner_id AND removed_at IS NULL
  AND (@only_id::text = '' OR id = @only_id::text) AND starts_with(id::text, @prefix::text)
ORDER BY id DESC LIMIT @max_rows;

-- name: StatsOfProjects :many
SELECT project_id, state, count(*) AS n,
       coalesce(sum((facts->>'width')::bigint * (facts->>'height')::bigint), 0)::bigint AS pixels
FROM images
WHERE project_id = any(@project_ids::text[]) AND state <> 'Removed' GROUP BY project_id, state;

-- name: CountImages :many
SELECT state, count(*) AS n FROM images WHERE project_id = @project_id AND state <> 'Removed' GROUP BY state;

-- name: CountImagesOfProjects :many
SELECT project_id, state, count(*) AS n FROM images
WHERE project_id = any(@project_ids::text[]) AND state <> 'Removed' GROUP BY project_id, state;

-- name: RemoveProject :execrows
UPDATE projects SET removed_at = @now::timestamptz, undo_until = @undo_until::timestamptz, sweep_at = @sweep_at::timestamptz
WHERE id = @id AND removed_at IS NULL;

-- name: UndoRemoveProject :execrows
UPDATE projects SET removed_at = NULL, undo_until = NULL, sweep_at = NULL
WHERE id = @id AND final_at IS NULL AND undo_until > @now::timestamptz;

-- name: ClaimRemovedProjects :many
UPDATE projects SET sweep_at = now() + interval '10 min'
WHERE id IN (SELECT p.id FROM projects p WHERE p.sweep_at <= @now::timestamptz ORDER BY p.sweep_at LIMIT @max_rows FOR UPDATE SKIP LOCKED)
RETURNING *;

-- name: LastGrantOfProject :one
SELECT greatest('epoch', (SELECT max(g.expires_at) FROM grants g WHERE g.project_id = @project_id),
                (SELECT max(w.session_ends) FROM watches w WHERE w.project_id = @project_id))::timestamptz AS ends;

-- name: SweepProjectAgain :exec
UPDATE projects SET sweep_at = @sweep_at::timestamptz WHERE id = @id AND final_at IS NULL AND removed_at IS NOT NULL;

-- name: DeleteImagesOfProject :exec
DELETE FROM images WHERE project_id = @project_id;

-- name: DeleteWatchesOfProject :exec
DELETE FROM watches WHERE project_id = @project_id;

-- name: FinishProject :execrows
UPDATE projects SET final_at = @now::timestamptz, sweep_at = NULL WHERE id = @id AND removed_at IS NOT NULL AND final_at IS NULL;
