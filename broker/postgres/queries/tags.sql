-- name: TagByName :one
-- However its name is written: keyboards of phones begin with a capital.
SELECT * FROM projects WHERE lower(tag) = lower(@tag::text) AND removed_at IS NULL;

-- name: ListTags :many
-- Those of an owner ("" for nobody), and the public ones of all; newest first.
SELECT * FROM projects
WHERE tag IS NOT NULL AND removed_at IS NULL
  AND (owner_id::text = @owner_id::text AND (@only_id::text = '' OR id::text = @only_id::text) OR lower(tag) IN (SELECT lower(p) FROM unnest(@public::text[]) p))
  AND (@after::text = '' OR id < @after::text)
ORDER BY id DESC
LIMIT @max_rows;

-- name: BytesOfTags :many
-- shown: of the files that are told; held: also of those whose removal can be undone.
-- A row outlives its object where that was bad.
SELECT project_id, coalesce(sum(object_size) FILTER (WHERE state <> 'Removed'), 0)::bigint AS shown,
       coalesce(sum(object_size), 0)::bigint AS held
FROM images WHERE project_id = any(@project_ids::text[]) AND swept_at IS NULL GROUP BY project_id;

-- name: FirstOwner :one
SELECT * FROM owners ORDER BY id LIMIT 1;

-- name: LockImageBySHA1 :one
SELECT * FROM images WHERE project_id = @project_id AND declared_sha1 = @sha1 AND state <> 'Removed' FOR NO KEY UPDATE;

-- name: AwaitProject :exec
-- Waits for all who hold it.
SELECT id FROM projects WHERE id = @project_id FOR NO KEY UPDATE;

-- name: ReceivedAs :one
-- The image that has, or had, an object of this name. A removed one has its row for
-- longer than this is asked.
SELECT i.* FROM images i
WHERE i.project_id = @project_id AND (i.filename = @filename::text
   OR i.id = (SELECT a.image_id FROM attempts a WHERE a.project_id = @project_id AND a.filename = @filename::text));

-- name: TakeTagName :one
INSERT INTO tag_names (project_id, name, n) VALUES (@project_id, @name, 1)
ON CONFLICT (project_id, name) DO UPDATE SET n = tag_names.n + 1
RETURNING n;

-- name: IsTag :one
SELECT (tag IS NOT NULL)::boolean AS tagged FROM projects WHERE id = @id;

-- name: NameImage :exec
UPDATE images SET name = @name WHERE id = @id;

-- name: ReceiveFile :many
-- EventRegister and EventSeen at once: the broker itself has put the object. No row
-- when another was faster with the same bytes.
INSERT INTO images (id, project_id, name, declared_sha1, declared_size, declared_type, state, attempt, filename,
                    grants_end, created_at, started_at, bucket, etag, object_size, uploaded_at)
VALUES (@id, @project_id, @name, @sha1::bytea, @size::bigint, @type::text, 'Uploaded', 1, @filename,
        @now::timestamptz, @now::timestamptz, @now::timestamptz, @bucket::text, @etag::text, @size::bigint, @now::timestamptz)
ON CONFLICT (project_id, declared_sha1) WHERE state <> 'Removed' DO NOTHING
RETURNING *;

-- name: ReceiveAttempt :one
-- The same for an image that waits for its bytes or has lost them: a further attempt,
-- for what was granted before may still write to the old key.
UPDATE images i SET state = 'Uploaded', attempt = i.attempt + 1, filename = @filename, declared_size = @size::bigint,
       declared_type = @type::text, bucket = @bucket::text, etag = @etag::text, object_size = @size::bigint,
       proven_sha1 = NULL, proven_size = NULL, crc32 = NULL, reasons = '{}', accepted = false, facts = '{}',
       check_failures = 0, check_failing_since = NULL, swept_at = NULL,
       started_at = coalesce(i.started_at, @now::timestamptz), uploaded_at = @now::timestamptz, judged_at = NULL
WHERE i.id = @id AND i.state = any(@from_states::text[])
RETURNING *;

-- name: ReserveTag :exec
-- As one whose removal can't be undone: nobody sees it, and the sweep of removed
-- projects cares for what is left of it.
INSERT INTO projects (id, owner_id, name, kind, tag, created_at, removed_at, undo_until, sweep_at)
VALUES (@id, @owner_id, @name, 'files', @tag::text, @now::timestamptz, @now::timestamptz, @now::timestamptz, @until::timestamptz);

-- name: LockTagName :exec
-- Until this transaction ends no other makes a tag of the name: whoever comes second
-- finds the first one's, and needn't run into the index.
SELECT pg_advisory_xact_lock(hashtextextended('tag ' || lower(p.tag), 0)) FROM projects p WHERE p.id = @id AND p.tag IS NOT NULL;

-- name: TagRival :one
-- Whether another project has a project's tag, and whether the removal of this one can
-- be undone.
SELECT EXISTS (SELECT 1 FROM projects r WHERE lower(r.tag) = lower(p.tag) AND r.id <> p.id AND r.removed_at IS NULL)::boolean AS taken,
       coalesce(p.undo_until > @now::timestamptz, false)::boolean AS undoable
FROM projects p WHERE p.id = @id;

-- name: LockTagRival :exec
-- Nothing is received by the project that has the tag of this one until this
-- transaction ends.
SELECT r.id FROM projects p JOIN projects r ON lower(r.tag) = lower(p.tag) AND r.id <> p.id AND r.removed_at IS NULL
WHERE p.id = @id FOR NO KEY UPDATE OF r;

-- name: DropEmptyRival :many
-- A tag in which nothing ever was makes room for the one that comes back. Its removal
-- can't be undone.
UPDATE projects r SET removed_at = @now::timestamptz, undo_until = @now::timestamptz, sweep_at = @now::timestamptz
FROM projects p
WHERE p.id = @id AND p.removed_at IS NOT NULL AND p.final_at IS NULL AND p.undo_until > @now::timestamptz
  AND lower(r.tag) = lower(p.tag) AND r.id <> p.id AND r.removed_at IS NULL AND r.owner_id = p.owner_id
  AND NOT EXISTS (SELECT 1 FROM images i WHERE i.project_id = r.id)
RETURNING r.id;

-- name: MakeReservedTag :one
-- No row: the sweep has had it.
UPDATE projects SET removed_at = NULL, undo_until = NULL, sweep_at = NULL
WHERE id = @id AND removed_at = undo_until AND final_at IS NULL
RETURNING *;

-- name: ReleaseTag :exec
-- A removal by an owner has its time of undo.
DELETE FROM projects p
WHERE p.id = @id AND p.tag IS NOT NULL AND p.removed_at = p.undo_until AND NOT EXISTS (SELECT 1 FROM images i WHERE i.project_id = p.id);
