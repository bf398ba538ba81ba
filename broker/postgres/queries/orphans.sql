-- name: ProjectFate :one
-- No row: this database never had such a project.
SELECT (removed_at IS NOT NULL)::boolean AS removed, (final_at IS NOT NULL)::boolean AS final FROM projects WHERE id = @project_id;

-- name: LockProjectAlone :one
-- Until this transaction ends nobody is granted anything in the project, which
-- takes FOR SHARE, and nobody removes it.
SELECT (removed_at IS NOT NULL)::boolean AS removed, (final_at IS NOT NULL)::boolean AS final
FROM projects WHERE id = @project_id FOR NO KEY UPDATE;

-- name: EndWhenIdle :exec
-- Ends this transaction when its process says nothing for so long: one that hangs
-- must not hold its locks.
SELECT set_config('idle_in_transaction_session_timeout', @milliseconds::text, true);

-- name: FilesOfProject :many
-- Whose these file names are: an image's present attempt, an attempt that ended,
-- or nobody's.
SELECT f.filename::text AS filename, i.id AS image_id, i.state, i.attempt, i.bucket, i.etag, i.judged_at, i.grants_end,
       coalesce((SELECT max(g.expires_at) FROM grants g
        WHERE g.image_id = i.id AND g.attempt = i.attempt AND g.bucket = @bucket::text), 'epoch')::timestamptz AS granted_here,
       a.image_id AS ended_image_id, a.attempt AS ended_attempt, a.ended_at
FROM unnest(@filenames::text[]) AS f(filename)
LEFT JOIN images i ON i.project_id = @project_id AND i.filename = f.filename
LEFT JOIN attempts a ON a.project_id = @project_id AND a.filename = f.filename;

-- name: ThumbsOfProject :many
-- Whose thumbnails these are, by their images' ids. An image whose removal is over
-- has no row any more; its story tells that it was.
SELECT t.id::text AS image_id, i.state, i.attempt, i.bucket, coalesce(i.facts->'thumb' IS NOT NULL, false)::boolean AS told,
       (i.id IS NULL AND EXISTS (SELECT 1 FROM audit a
        WHERE a.image_id = t.id AND a.project_id = @project_id::text AND a.action = 'image.final'))::boolean AS final
FROM unnest(@ids::text[]) AS t(id)
LEFT JOIN images i ON i.project_id = @project_id::text AND i.id = t.id;

-- name: LockImages :exec
-- Until this transaction ends none of them moves.
SELECT id FROM images WHERE project_id = @project_id AND id = any(@ids::text[]) ORDER BY id FOR NO KEY UPDATE;

-- name: SpareKeys :many
-- Of these file names, those of attempts that have not come and for which a grant
-- is out (see SpareGrant), until when it lives. Those that ended before after
-- count no more.
SELECT s.filename::text AS filename, max(s.expires_at)::timestamptz AS ends
FROM (SELECT attempt_filename(i.declared_sha1, g.attempt, coalesce(substring(i.filename FROM '\.[a-z0-9]+$'), '')) AS filename, g.expires_at
      FROM grants g JOIN images i ON i.id = g.image_id
      WHERE g.project_id = @project_id AND g.expires_at > @after::timestamptz AND g.attempt > i.attempt AND i.declared_sha1 IS NOT NULL) s
WHERE s.filename = any(@filenames::text[])
GROUP BY s.filename;

-- name: MarkSwept :execrows
-- Of an Invalid image: its object is about to be deleted, so that nobody accepts
-- the image any more.
UPDATE images SET swept_at = @now::timestamptz
WHERE id = @id AND project_id = @project_id AND state = 'Invalid' AND attempt = @attempt AND bucket = @bucket::text AND etag = @etag::text;

-- name: UnmarkSwept :exec
-- The object was not deleted after all. The image may have been removed meanwhile,
-- and come back.
UPDATE images SET swept_at = NULL WHERE id = @id AND attempt = @attempt AND etag = @etag::text;
