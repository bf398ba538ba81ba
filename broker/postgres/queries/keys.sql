-- name: CreateOwner :exec
INSERT INTO owners (id, email, name, created_at) VALUES (@id, @email, @name, @created_at);

-- name: OwnerByEmail :one
SELECT * FROM owners WHERE email = @email;

-- name: ListOwners :many
SELECT * FROM owners ORDER BY id;

-- name: CreateKey :one
-- The same secret of the same owner is the same key, set anew: a bootstrap key
-- is set at every start. Another owner's secret gives no row.
INSERT INTO keys (id, owner_id, hash, hint, name, scopes, project_id, clouds, created_at, expires_at)
VALUES (@id, @owner_id, @hash, @hint, @name, @scopes::text[], sqlc.narg(project_id), @clouds::text[], @created_at, sqlc.narg(expires_at))
ON CONFLICT (hash) DO UPDATE
SET scopes = excluded.scopes, expires_at = excluded.expires_at, revoked_at = NULL
WHERE keys.owner_id = excluded.owner_id
RETURNING id;

-- name: KeyByHash :one
SELECT sqlc.embed(keys), sqlc.embed(owners)
FROM keys JOIN owners ON owners.id = keys.owner_id
WHERE keys.hash = @hash;

-- name: ListKeys :many
SELECT * FROM keys WHERE @owner_id::text = '' OR owner_id = @owner_id::text ORDER BY id;

-- name: KeysByPrefix :many
SELECT * FROM keys WHERE starts_with(id::text, @prefix::text) ORDER BY id LIMIT 2;

-- name: RevokeKey :exec
UPDATE keys SET revoked_at = coalesce(revoked_at, @now::timestamptz) WHERE id = @id;

-- name: TouchKey :exec
UPDATE keys SET last_used_at = @now::timestamptz WHERE id = @id AND (last_used_at IS NULL OR last_used_at < @now::timestamptz);

-- name: AnyKey :one
SELECT EXISTS (SELECT 1 FROM keys);

-- name: CreateSession :exec
INSERT INTO sessions (hash, key_id, kind, created_at, expires_at) VALUES (@hash, @key_id, @kind, @created_at, @expires_at);

-- name: SessionByHash :one
SELECT sqlc.embed(sessions), sqlc.embed(keys), sqlc.embed(owners)
FROM sessions JOIN keys ON keys.id = sessions.key_id JOIN owners ON owners.id = keys.owner_id
WHERE sessions.hash = @hash AND sessions.kind = 'session' AND sessions.expires_at > @now::timestamptz;

-- name: TakeCode :one
DELETE FROM sessions WHERE hash = @hash AND kind = 'code' AND expires_at > @now::timestamptz RETURNING key_id;

-- name: EndSession :exec
DELETE FROM sessions WHERE hash = @hash;

-- name: SweepSessions :exec
DELETE FROM sessions WHERE expires_at < @now::timestamptz;
