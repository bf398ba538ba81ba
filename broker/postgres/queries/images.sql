-- name: ImagesBySHA1 :many
SELECT * FROM images WHERE project_id = @project_id AND declared_sha1 = any(@digests::bytea[]) AND state <> 'Removed';

-- name: ImagesByID :many
SELECT * FROM images WHERE project_id = @project_id AND id = any(@ids::text[]);

-- name: ImageOfFile :one
SELECT * FROM images WHERE project_id = @project_id AND filename = @filename;

-- name: ImageWithProject :one
SELECT sqlc.embed(images), sqlc.embed(projects)
FROM images JOIN projects ON projects.id = images.project_id
WHERE images.id = @id AND projects.removed_at IS NULL;

-- name: ListImages :many
SELECT * FROM images
WHERE project_id = @project_id AND state <> 'Removed' AND id > @after::text
ORDER BY id
LIMIT @max_rows;

-- name: ListImagesInState :many
SELECT * FROM images
WHERE project_id = @project_id AND state = @state AND id > @after::text
ORDER BY id
LIMIT @max_rows;

-- name: LockForGrant :one
-- Until this transaction ends the project is not removed and the watch does not
-- fall asleep. Registrations share both locks. No row: one of them is missing.
SELECT (w.next_look_at IS NULL OR w.next_look_at > greatest(now(), w.looked_at + interval '1 s'))::boolean AS late
FROM projects p JOIN watches w ON w.project_id = p.id
WHERE p.id = @project_id AND p.removed_at IS NULL AND w.bucket = @bucket
FOR SHARE OF p FOR KEY SHARE OF w;

-- name: RegisterImages :many
-- EventRegister, and EventStart where asked. An open image keeps its row and
-- attempt; an Invalid one begins a further attempt with a key of its own; those
-- Uploaded or Ready give no row. Rows are locked in the order of their digests,
-- so that two batches can't wait for each other. An image without a sha1 is
-- nobody else's: it gets a row of its own each time.
WITH want AS (
    SELECT unnest(@ids::text[]) AS id, unnest(@names::text[]) AS name, unnest(@digests::bytea[]) AS sha1,
           unnest(@sizes::bigint[]) AS size, unnest(@types::text[]) AS type, unnest(@exts::text[]) AS ext,
           unnest(@states::text[]) AS state
), numbered AS (
    -- A removed image with these bytes may still have grants and an object
    -- under its key: the newcomer counts on from its attempts, and from those that
    -- were granted and never came (see SpareGrant).
    SELECT want.id, want.name, want.sha1, want.size, want.type, want.ext, want.state,
           1 + coalesce((SELECT max(greatest(r.attempt, (SELECT max(g.attempt) FROM grants g WHERE g.image_id = r.id))) FROM images r
                         WHERE r.project_id = @project_id AND r.declared_sha1 = want.sha1 AND r.state = 'Removed'), 0) AS attempt
    FROM want
), registered AS (
    INSERT INTO images (id, project_id, name, declared_sha1, declared_size, declared_type, state, attempt, filename,
                        grants_end, created_at, started_at)
    -- Where no sha1 was declared the file is named after its own id, and where
    -- no size was, it is below zero.
    SELECT n.id, @project_id, n.name, n.sha1, nullif(greatest(n.size, -1), -1), n.type, n.state, n.attempt,
           coalesce(attempt_filename(n.sha1, n.attempt, n.ext), n.id || n.ext),
           @expires_at::timestamptz, @now::timestamptz, CASE WHEN n.state = 'Uploading' THEN @now::timestamptz END
    FROM numbered n
    ORDER BY n.sha1
    ON CONFLICT (project_id, declared_sha1) WHERE state <> 'Removed' DO UPDATE SET
        state = CASE WHEN images.state = 'Uploading' THEN 'Uploading' ELSE excluded.state END,
        started_at = CASE WHEN images.state = 'Uploading' THEN images.started_at ELSE excluded.started_at END,
        -- An image that came back by undo counts on from those that came and went
        -- meanwhile: excluded.attempt is one more than theirs.
        attempt = CASE WHEN images.state = 'Invalid' THEN greatest(images.attempt + 1, excluded.attempt) ELSE images.attempt END,
        -- In a tag the name is this image's own (see TakeTagName).
        name = CASE WHEN images.state = 'Invalid' AND NOT @tagged::boolean THEN excluded.name ELSE images.name END,
        filename = CASE WHEN images.state = 'Invalid'
            THEN attempt_filename(images.declared_sha1, greatest(images.attempt + 1, excluded.attempt), coalesce(substring(excluded.filename FROM '\.[a-z0-9]+$'), ''))
            ELSE images.filename END,
        -- Grants that are out are bound to what was declared first.
        declared_size = CASE WHEN images.state = 'Invalid' THEN excluded.declared_size ELSE images.declared_size END,
        declared_type = CASE WHEN images.state = 'Invalid' THEN excluded.declared_type ELSE images.declared_type END,
        grants_end = greatest(images.grants_end, excluded.grants_end),
        bucket = NULL, etag = NULL, object_size = NULL, proven_sha1 = NULL, proven_size = NULL, crc32 = NULL,
        reasons = '{}', facts = '{}', check_failures = 0, check_failing_since = NULL, uploaded_at = NULL, judged_at = NULL, swept_at = NULL
    WHERE images.state = any(@from_states::text[])
    RETURNING images.*
), granted AS (
    INSERT INTO grants (image_id, attempt, project_id, bucket, kind, key_id, issued_at, expires_at, source)
    SELECT r.id, r.attempt, r.project_id, @bucket, @kind, @key_id::text, @now::timestamptz, @expires_at::timestamptz,
           nullif(@source::text, '') FROM registered r
), audited AS (
    INSERT INTO audit (at, action, owner_id, key_id, project_id, image_id, detail)
    SELECT @now::timestamptz, 'image.register', @owner_id::text, @key_id::text, r.project_id, r.id,
           jsonb_build_object('attempt', r.attempt, 'state', r.state, 'bucket', @bucket::text)
    FROM registered r
)
SELECT * FROM registered;

-- name: RegrantImages :many
-- A further grant for those still open.
WITH open AS (
    UPDATE images i SET grants_end = greatest(i.grants_end, @expires_at::timestamptz)
    FROM (SELECT l.id FROM images l WHERE l.project_id = @project_id AND l.id = any(@ids::text[]) ORDER BY l.id FOR NO KEY UPDATE) locked
    WHERE i.id = locked.id AND i.state IN ('Pending', 'Uploading')
    RETURNING i.id, i.attempt, i.project_id
), granted AS (
    INSERT INTO grants (image_id, attempt, project_id, bucket, kind, key_id, issued_at, expires_at)
    SELECT o.id, o.attempt, o.project_id, @bucket, @kind, @key_id::text, @now::timestamptz, @expires_at::timestamptz FROM open o
), audited AS (
    INSERT INTO audit (at, action, owner_id, key_id, project_id, image_id, detail)
    SELECT @now::timestamptz, 'image.regrant', @owner_id::text, @key_id::text, o.project_id, o.id,
           jsonb_build_object('attempt', o.attempt, 'bucket', @bucket::text)
    FROM open o
)
SELECT open.id FROM open;

-- name: LockProject :one
-- Until this transaction ends the project is not removed.
SELECT id FROM projects WHERE id = @project_id AND removed_at IS NULL FOR SHARE;

-- name: SpareGrant :one
-- A grant for the attempt that an image would have next, if it had to. Its key
-- is nobody else's, and what lies there is found if that attempt ever comes.
WITH spared AS (
    UPDATE images i SET grants_end = greatest(i.grants_end, @expires_at::timestamptz)
    WHERE i.project_id = @project_id AND i.id = @id AND i.state IN ('Uploaded', 'Ready') AND i.declared_sha1 IS NOT NULL
    RETURNING i.id, i.attempt + 1 AS attempt, i.project_id,
              attempt_filename(i.declared_sha1, i.attempt + 1, coalesce(substring(i.filename FROM '\.[a-z0-9]+$'), '')) AS filename
), granted AS (
    INSERT INTO grants (image_id, attempt, project_id, bucket, kind, key_id, issued_at, expires_at)
    SELECT s.id, s.attempt, s.project_id, @bucket, @kind, @key_id::text, @now::timestamptz, @expires_at::timestamptz FROM spared s
), audited AS (
    INSERT INTO audit (at, action, owner_id, key_id, project_id, image_id, detail)
    SELECT @now::timestamptz, 'image.spare', @owner_id::text, @key_id::text, s.project_id, s.id,
           jsonb_build_object('attempt', s.attempt, 'bucket', @bucket::text)
    FROM spared s
)
SELECT spared.filename::text AS filename FROM spared;

-- name: ProjectOfImage :one
SELECT project_id FROM images WHERE id = @id;

-- name: ReadyElsewhere :many
-- Where an owner has these bytes already, proven, in the same bucket and in a
-- project of the same kind, whose verdicts mean the same.
SELECT DISTINCT ON (i.proven_sha1) i.* FROM images i JOIN projects p ON p.id = i.project_id
WHERE i.proven_sha1 = any(@digests::bytea[]) AND i.state = 'Ready' AND NOT i.accepted AND i.bucket = @bucket::text
  AND p.owner_id = @owner_id AND p.kind = @kind AND p.removed_at IS NULL AND i.project_id <> @project_id
ORDER BY i.proven_sha1, i.judged_at DESC;

-- name: WindowImages :many
SELECT * FROM images
WHERE project_id = @project_id AND state <> 'Removed'
  AND id > @after::text AND (@before::text = '' OR id < @before::text)
ORDER BY id LIMIT @max_rows;

-- name: WindowImagesBack :many
SELECT * FROM images
WHERE project_id = @project_id AND state <> 'Removed'
  AND id > @after::text AND (@before::text = '' OR id < @before::text)
ORDER BY id DESC LIMIT @max_rows;

-- name: WindowImagesInState :many
SELECT * FROM images
WHERE project_id = @project_id AND state = @state
  AND id > @after::text AND (@before::text = '' OR id < @before::text)
ORDER BY id LIMIT @max_rows;

-- name: WindowImagesInStateBack :many
SELECT * FROM images
WHERE project_id = @project_id AND state = @state
  AND id > @after::text AND (@before::text = '' OR id < @before::text)
ORDER BY id DESC LIMIT @max_rows;

-- name: StartImages :exec
WITH started AS (
    UPDATE images i SET state = 'Uploading', started_at = @now::timestamptz
    FROM (SELECT l.id FROM images l WHERE l.project_id = @project_id AND l.id = any(@ids::text[]) ORDER BY l.id FOR NO KEY UPDATE) locked
    WHERE i.id = locked.id AND i.state = any(@from_states::text[])
    RETURNING i.id, i.attempt
)
INSERT INTO audit (at, action, owner_id, key_id, project_id, image_id, detail)
SELECT @now::timestamptz, 'image.start', @owner_id::text, @key_id::text, @project_id::text, s.id,
       jsonb_build_object('attempt', s.attempt)
FROM started s;

-- name: AuditDone :exec
INSERT INTO audit (at, action, owner_id, key_id, project_id, image_id, detail)
SELECT @now::timestamptz, 'image.done', @owner_id::text, @key_id::text, i.project_id, i.id,
       jsonb_build_object('attempt', i.attempt, 'state', i.state)
FROM images i WHERE i.project_id = @project_id AND i.id = any(@ids::text[]) AND i.state IN ('Pending', 'Uploading');

-- name: RemoveImage :exec
WITH removed AS (
    UPDATE images i SET state = 'Removed', removed_from = i.state, removed_at = @now::timestamptz,
           undo_until = @undo_until::timestamptz, sweep_at = @sweep_at::timestamptz
    WHERE i.project_id = @project_id AND i.id = @id AND i.state = any(@from_states::text[])
    RETURNING i.id, i.removed_from
)
INSERT INTO audit (at, action, owner_id, key_id, project_id, image_id, detail)
SELECT @now::timestamptz, 'image.remove', @owner_id::text, @key_id::text, @project_id::text, r.id,
       jsonb_build_object('from', r.removed_from)
FROM removed r;

-- name: HasSuccessor :one
-- Whether the same bytes were registered again since an image was removed.
SELECT EXISTS (SELECT 1 FROM images i JOIN images o ON o.project_id = i.project_id AND o.declared_sha1 = i.declared_sha1
               AND o.id <> i.id AND o.state <> 'Removed'
               WHERE i.project_id = @project_id AND i.id = @id AND i.state = 'Removed' AND i.undo_until > @now::timestamptz)::boolean;

-- name: UndoRemoveImage :one
WITH undone AS (
    UPDATE images i SET state = i.removed_from, removed_from = NULL, removed_at = NULL, undo_until = NULL, sweep_at = NULL
    WHERE i.project_id = @project_id AND i.id = @id AND i.state = any(@from_states::text[]) AND i.undo_until > @now::timestamptz
    RETURNING i.id, i.state
), audited AS (
    INSERT INTO audit (at, action, owner_id, key_id, project_id, image_id, detail)
    SELECT @now::timestamptz, 'image.undo', @owner_id::text, @key_id::text, @project_id::text, u.id,
           jsonb_build_object('to', u.state)
    FROM undone u
)
SELECT undone.state FROM undone;

-- name: AcceptImage :execrows
-- EventAccept: the owner keeps what is damaged, of this attempt and etag, whose
-- verdict he has read.
WITH kept AS (
    UPDATE images i SET state = 'Ready', accepted = true
    WHERE i.project_id = @project_id AND i.id = @id AND i.state = any(@from_states::text[])
      AND i.attempt = @attempt AND i.etag = @etag::text AND i.proven_sha1 IS NOT NULL AND i.swept_at IS NULL
      AND NOT EXISTS (SELECT 1 FROM unnest(i.reasons) AS r(reason) WHERE split_part(r.reason, ':', 1) NOT IN ('corrupt', 'truncated'))
    RETURNING i.id, i.attempt, i.etag, i.reasons
)
INSERT INTO audit (at, action, owner_id, key_id, project_id, image_id, detail)
SELECT @now::timestamptz, 'image.accept', @owner_id::text, @key_id::text, @project_id::text, k.id,
       jsonb_build_object('attempt', k.attempt, 'etag', k.etag, 'reasons', k.reasons)
FROM kept k;

-- name: FetchSource :one
-- The URL of an attempt that the broker fetches.
SELECT g.source::text AS source FROM grants g
WHERE g.image_id = @image_id AND g.attempt = @attempt AND g.kind = 'fetch' AND g.source IS NOT NULL
ORDER BY g.id LIMIT 1;

-- name: MakeEventSecret :exec
INSERT INTO event_secrets (bucket, secret, created_at) VALUES (@bucket, @secret, @now) ON CONFLICT (bucket) DO NOTHING;

-- name: EventSecret :one
SELECT secret FROM event_secrets WHERE bucket = @bucket;
