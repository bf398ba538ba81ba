-- +goose Up

-- Ids are ULIDs, made by the program: they sort by time, and pages follow them.
-- Byte order ("C") is their order, whatever the cluster's locale.
CREATE DOMAIN ulid AS text COLLATE "C" CHECK (VALUE ~ '^[0-7][0-9A-HJKMNP-TV-Z]{25}$');

CREATE TABLE owners (
    id         ulid PRIMARY KEY,
    email      text NOT NULL CHECK (email = lower(email) AND email LIKE '_%@_%' AND octet_length(email) <= 254),
    name       text NOT NULL DEFAULT '' CHECK (octet_length(name) <= 255),
    created_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX owners_email ON owners (email);

CREATE TABLE projects (
    id         ulid PRIMARY KEY,
    owner_id   ulid NOT NULL REFERENCES owners,
    name       text NOT NULL CHECK (name <> '' AND octet_length(name) <= 255),
    kind       text NOT NULL CHECK (kind IN ('recon', 'files')),
    -- A tag is a project of kind files addressed by its name, unique in the
    -- installation.
    tag        text CHECK (tag IS NULL OR kind = 'files'),
    created_at timestamptz NOT NULL,
    -- Removal can be undone until undo_until. After that sweep_at says when its
    -- prefixes are next emptied; final_at is set once they were found empty
    -- after the last grant had ended.
    removed_at timestamptz,
    undo_until timestamptz,
    sweep_at   timestamptz,
    final_at   timestamptz,
    CHECK ((removed_at IS NULL) = (undo_until IS NULL)),
    CHECK (sweep_at IS NULL OR removed_at IS NOT NULL),
    CHECK (final_at IS NULL OR (removed_at IS NOT NULL AND sweep_at IS NULL))
);
CREATE INDEX projects_owner ON projects (owner_id, id) WHERE removed_at IS NULL;
CREATE UNIQUE INDEX projects_tag ON projects (tag) WHERE removed_at IS NULL;
CREATE INDEX projects_sweep ON projects (sweep_at) WHERE sweep_at IS NOT NULL;

CREATE TABLE keys (
    id           ulid PRIMARY KEY,
    owner_id     ulid NOT NULL REFERENCES owners,
    -- SHA-256 of the secret. A secret has at least 128 random bits (or is the
    -- operator's own choice), so a slow hash would buy nothing.
    hash         bytea NOT NULL CHECK (octet_length(hash) = 32),
    hint         text NOT NULL CHECK (octet_length(hint) <= 8), -- how the secret begins, to tell keys apart
    name         text NOT NULL DEFAULT '' CHECK (octet_length(name) <= 255),
    scopes       text[] NOT NULL CHECK (scopes <> '{}' AND scopes <@ ARRAY['read', 'upload', 'manage', 'admin']),
    project_id   ulid REFERENCES projects, -- null: all projects of the owner
    clouds       text[] NOT NULL DEFAULT '{}' CHECK (clouds <@ ARRAY['S3', 'OSS', 'MINIO']), -- empty: all
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);
CREATE UNIQUE INDEX keys_hash ON keys (hash);
CREATE INDEX keys_owner ON keys (owner_id, id);

-- A browser's session is a row and dies with its key. A sign-in code becomes a
-- session once.
CREATE TABLE sessions (
    hash       bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
    key_id     ulid NOT NULL REFERENCES keys ON DELETE CASCADE,
    kind       text NOT NULL CHECK (kind IN ('code', 'session')),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE TABLE images (
    id            ulid PRIMARY KEY,
    project_id    ulid NOT NULL REFERENCES projects,
    -- The rules of a name are broker.CheckName's; these are the part SQL can say.
    name          text NOT NULL CHECK (name <> '' AND octet_length(name) <= 1024 AND name !~ '[\x01-\x1f\x7f\\]'),
    declared_sha1 bytea CHECK (octet_length(declared_sha1) = 20),
    declared_size bigint CHECK (declared_size >= 0),
    declared_type text,
    state         text NOT NULL CHECK (state IN ('Pending', 'Uploading', 'Uploaded', 'Ready', 'Invalid', 'Removed')),
    attempt       integer NOT NULL CHECK (attempt >= 1),
    filename      text NOT NULL CHECK (filename ~ '^[A-Za-z0-9._-]{1,100}$'), -- of this attempt; the key is <project_id>/<filename>
    grants_end    timestamptz NOT NULL, -- when the last grant of any attempt ends: kept here, so that expiry is decided on one row
    -- What a look saw of this attempt. The first object seen decides the bucket.
    bucket        text,
    etag          text CHECK (etag <> ''),
    object_size   bigint CHECK (object_size >= 0),
    -- What the verdict proved.
    proven_sha1   bytea CHECK (octet_length(proven_sha1) = 20),
    proven_size   bigint CHECK (proven_size >= 0),
    crc32         bigint CHECK (crc32 BETWEEN 0 AND 4294967295),
    reasons       text[] NOT NULL DEFAULT '{}',
    accepted      boolean NOT NULL DEFAULT false, -- Ready by the owner's word
    facts         jsonb NOT NULL DEFAULT '{}',
    -- Checks of this attempt and etag that could not run.
    check_failures      integer NOT NULL DEFAULT 0 CHECK (check_failures >= 0),
    check_failing_since timestamptz,
    created_at    timestamptz NOT NULL,
    started_at    timestamptz,
    uploaded_at   timestamptz,
    judged_at     timestamptz,
    -- Removal, as for projects. removed_from is the state that undo restores.
    removed_at    timestamptz,
    removed_from  text CHECK (removed_from IN ('Pending', 'Uploading', 'Uploaded', 'Ready', 'Invalid')),
    undo_until    timestamptz,
    sweep_at      timestamptz, -- when its objects are next deleted; the row goes last

    CONSTRAINT images_open_knows_nothing CHECK (state NOT IN ('Pending', 'Uploading')
        OR (etag IS NULL AND bucket IS NULL AND proven_sha1 IS NULL AND reasons = '{}')),
    CONSTRAINT images_uploading_started CHECK (state <> 'Uploading' OR started_at IS NOT NULL),
    CONSTRAINT images_uploaded_was_seen CHECK (state <> 'Uploaded'
        OR (etag IS NOT NULL AND bucket IS NOT NULL AND object_size IS NOT NULL
            AND proven_sha1 IS NULL AND reasons = '{}' AND uploaded_at IS NOT NULL)),
    CONSTRAINT images_ready_is_proven CHECK (state <> 'Ready'
        OR (proven_sha1 IS NOT NULL AND crc32 IS NOT NULL AND proven_size IS NOT NULL
            AND etag IS NOT NULL AND bucket IS NOT NULL AND judged_at IS NOT NULL
            AND (reasons = '{}' OR accepted))),
    CONSTRAINT images_invalid_says_why CHECK (state <> 'Invalid' OR (reasons <> '{}' AND judged_at IS NOT NULL)),
    -- A plain "=" would be null while removed_from is, and a CHECK passes on null.
    CONSTRAINT images_accepted_is_ready CHECK (NOT accepted OR state = 'Ready' OR removed_from IS NOT DISTINCT FROM 'Ready'),
    CONSTRAINT images_removed CHECK ((state = 'Removed') = (removed_at IS NOT NULL)
        AND (state = 'Removed') = (removed_from IS NOT NULL)
        AND (state = 'Removed') = (undo_until IS NOT NULL)),
    CONSTRAINT images_sweep CHECK (sweep_at IS NULL OR state = 'Removed')
);
CREATE UNIQUE INDEX images_sha1 ON images (project_id, declared_sha1) WHERE state <> 'Removed';
CREATE INDEX images_sha1_removed ON images (project_id, declared_sha1) WHERE state = 'Removed';
-- A key belongs to one image for as long as a grant or an object of it may
-- live, or the sweep of a removed one would take the object of its successor.
CREATE UNIQUE INDEX images_filename ON images (project_id, filename);
CREATE INDEX images_page ON images (project_id, state, id);
CREATE INDEX images_page_all ON images (project_id, id) WHERE state <> 'Removed';
CREATE INDEX images_open ON images (project_id) WHERE state IN ('Pending', 'Uploading');
CREATE INDEX images_unjudged ON images (uploaded_at) WHERE state = 'Uploaded';
CREATE INDEX images_sweep_due ON images (sweep_at) WHERE sweep_at IS NOT NULL;

-- An attempt's file name in the bucket. ext has its dot, or is empty.
CREATE FUNCTION attempt_filename(sha1 bytea, attempt integer, ext text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN encode(sha1, 'hex') || CASE WHEN attempt > 1 THEN '-' || attempt ELSE '' END || ext;

-- Attempts that are over. The present attempt of an image is the image's row;
-- the trigger below files it here when the next one begins, so that no path can
-- forget to. Their keys are orphans.
CREATE TABLE attempts (
    image_id    ulid NOT NULL REFERENCES images ON DELETE CASCADE,
    attempt     integer NOT NULL,
    project_id  ulid NOT NULL,
    filename    text NOT NULL,
    bucket      text,
    etag        text,
    object_size bigint,
    reasons     text[] NOT NULL,
    ended_at    timestamptz NOT NULL,
    PRIMARY KEY (image_id, attempt)
);
CREATE UNIQUE INDEX attempts_filename ON attempts (project_id, filename);

-- +goose StatementBegin
CREATE FUNCTION file_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO attempts (image_id, attempt, project_id, filename, bucket, etag, object_size, reasons, ended_at)
    VALUES (OLD.id, OLD.attempt, OLD.project_id, OLD.filename, OLD.bucket, OLD.etag, OLD.object_size, OLD.reasons,
            coalesce(OLD.judged_at, clock_timestamp()));
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER images_file_attempt AFTER UPDATE ON images
    FOR EACH ROW WHEN (NEW.attempt <> OLD.attempt) EXECUTE FUNCTION file_attempt();

-- The rights handed out. Nobody can take one back before it ends.
CREATE TABLE grants (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    image_id   ulid NOT NULL REFERENCES images ON DELETE CASCADE,
    attempt    integer NOT NULL,
    project_id ulid NOT NULL,
    bucket     text NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('request', 'session')),
    key_id     ulid,
    issued_at  timestamptz NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > issued_at)
);
CREATE INDEX grants_image ON grants (image_id, attempt);
CREATE INDEX grants_project ON grants (project_id, expires_at);

-- Where to look, and when. A row is never removed while its project lives, only
-- put to sleep (next_look_at null), so that a registration need lock it no
-- more than shared.
CREATE TABLE watches (
    project_id    ulid NOT NULL REFERENCES projects ON DELETE CASCADE,
    bucket        text NOT NULL,
    next_look_at  timestamptz,
    looked_at     timestamptz NOT NULL DEFAULT 'epoch',
    pause         interval NOT NULL DEFAULT '1 s' CHECK (pause > '0'),
    pages         integer NOT NULL DEFAULT 0 CHECK (pages >= 0), -- requests that the last LIST took; 0: none yet
    reconciled_at timestamptz NOT NULL DEFAULT 'epoch', -- when every etag was last compared
    PRIMARY KEY (project_id, bucket)
);
CREATE INDEX watches_due ON watches (next_look_at) WHERE next_look_at IS NOT NULL;
CREATE INDEX watches_reconcile ON watches (reconciled_at);

-- Who is validating what. Kept by the database's clock.
CREATE TABLE leases (
    image_id   ulid PRIMARY KEY REFERENCES images ON DELETE CASCADE,
    holder     text NOT NULL,
    expires_at timestamptz NOT NULL
);

-- What each validation said. The image's row holds the verdict that counts.
CREATE TABLE verdicts (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    image_id  ulid NOT NULL REFERENCES images ON DELETE CASCADE,
    attempt   integer NOT NULL,
    bucket    text NOT NULL,
    etag      text NOT NULL,
    state     text NOT NULL CHECK (state IN ('Ready', 'Invalid')),
    reasons   text[] NOT NULL,
    sha1      bytea CHECK (octet_length(sha1) = 20),
    crc32     bigint,
    size      bigint,
    facts     jsonb NOT NULL,
    holder    text NOT NULL,
    judged_at timestamptz NOT NULL
);
CREATE INDEX verdicts_image ON verdicts (image_id, id);

-- Who did what, when. Rows are only ever added. It refers to nothing, for it
-- outlives what it speaks of.
CREATE TABLE audit (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL,
    action     text NOT NULL CHECK (action ~ '^[a-z]+(\.[a-z]+)+$'),
    owner_id   text,
    key_id     text, -- null: the program itself
    project_id text,
    image_id   text,
    detail     jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_image ON audit (image_id, id) WHERE image_id IS NOT NULL;
CREATE INDEX audit_project ON audit (project_id, id) WHERE project_id IS NOT NULL;

-- +goose StatementBegin
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit is append-only';
END $$;
-- +goose StatementEnd
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
