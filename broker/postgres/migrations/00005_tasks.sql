-- +goose Up

-- A run of a reconstruction engine. Besides where it stands, the row says what is
-- done next and when: whoever works on it holds it for a minute at a time, so that
-- another goes on when he is killed.
CREATE TABLE tasks (
    id            ulid PRIMARY KEY,
    project_id    ulid NOT NULL REFERENCES projects,
    type          text NOT NULL CHECK (type IN ('Native', 'Dense')),
    state         text NOT NULL CHECK (state IN ('Pending', 'Processing', 'Done', 'Failed', 'Stopped')),
    -- What is under way: waiting for verdicts, sending to the engine, running there,
    -- copying its results.
    stage         text NOT NULL CHECK (stage IN ('', 'waiting', 'sending', 'running', 'copying')),
    expected      integer NOT NULL DEFAULT 0 CHECK (expected >= 0),
    engine        text NOT NULL CHECK (engine IN ('nodeodm', 'webhook')),
    run_id        text NOT NULL CHECK (run_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'), -- its name at the engine: a UUID
    -- What the engine shows to read the task's files and to report. It ends with the
    -- task, and whoever reads this table may change the task anyway: it lies here as it is.
    token         text NOT NULL CHECK (octet_length(token) >= 32),
    images        integer NOT NULL DEFAULT 0 CHECK (images >= 0), -- of task_images
    bytes         bigint NOT NULL DEFAULT 0 CHECK (bytes >= 0),
    progress      real NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100), -- percent
    fault         text CHECK (fault ~ '^[A-Z_]+$'), -- the name of a coded error
    cause         text NOT NULL DEFAULT '', -- why it failed, in words for its owner
    report        jsonb, -- what a webhook engine said when it finished
    owner_id      ulid NOT NULL, -- who started it
    key_id        text NOT NULL,
    created_at    timestamptz NOT NULL,
    started_at    timestamptz,
    ended_at      timestamptz,

    next_at       timestamptz, -- of the next step; null: there is none
    holder        text,
    held_until    timestamptz, -- by the database's clock
    cancel        boolean NOT NULL DEFAULT false, -- the engine has still to be told that it was stopped
    failures      integer NOT NULL DEFAULT 0 CHECK (failures >= 0), -- of the present step, in a row
    failing_since timestamptz,
    failed_at     timestamptz, -- the last of them
    begun         boolean NOT NULL DEFAULT false, -- it began once; should it wait again, then not for images to begin
    sends         integer NOT NULL DEFAULT 0 CHECK (sends >= 0), -- how often the engine took it: one that it loses is sent again, once

    CONSTRAINT tasks_ended CHECK ((state IN ('Done', 'Failed', 'Stopped')) = (ended_at IS NOT NULL)),
    CONSTRAINT tasks_stage CHECK ((state = 'Pending') = (stage = 'waiting') AND (state IN ('Pending', 'Processing')) = (stage <> '')),
    CONSTRAINT tasks_failed CHECK ((state = 'Failed') = (fault IS NOT NULL)),
    CONSTRAINT tasks_next CHECK (next_at IS NULL OR state IN ('Pending', 'Processing') OR cancel)
);
CREATE UNIQUE INDEX tasks_active ON tasks (project_id) WHERE state IN ('Pending', 'Processing');
CREATE INDEX tasks_project ON tasks (project_id, id);
CREATE INDEX tasks_due ON tasks (next_at) WHERE next_at IS NOT NULL;

-- A task that waits for verdicts must not fire while an image begins to be without
-- one: whatever moves an image so shares the task's row until it commits, and
-- firing takes the row for itself before it looks. No path can forget it.
-- +goose StatementBegin
CREATE FUNCTION hold_waiting_task() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM tasks WHERE project_id = NEW.project_id AND state = 'Pending' FOR SHARE;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER images_hold_new AFTER INSERT ON images FOR EACH ROW
    WHEN (NEW.state IN ('Uploading', 'Uploaded')) EXECUTE FUNCTION hold_waiting_task();
CREATE TRIGGER images_hold AFTER UPDATE ON images FOR EACH ROW
    WHEN (NEW.state <> OLD.state AND NEW.state IN ('Uploading', 'Uploaded')) EXECUTE FUNCTION hold_waiting_task();

-- What a task works with: the images that were Ready when it began, and the objects
-- that were proven then. name is the image's then.
CREATE TABLE task_images (
    task_id  ulid NOT NULL REFERENCES tasks ON DELETE CASCADE,
    image_id ulid NOT NULL,
    name     text NOT NULL,
    type     text NOT NULL, -- the true one, '' when it is not known
    bucket   text NOT NULL,
    filename text NOT NULL,
    etag     text NOT NULL,
    size     bigint NOT NULL,
    crc32    bigint NOT NULL,
    at       timestamptz NOT NULL, -- when the picture was taken, else registered
    PRIMARY KEY (task_id, image_id)
);

-- Which engines the running workers have: each says so every minute. Tasks of one that
-- none has would wait for ever.
CREATE TABLE task_engines (
    engine  text PRIMARY KEY,
    seen_at timestamptz NOT NULL -- by the database's clock
);

-- What came out of it: objects at results/<project_id>/<task_id>/<name>.
CREATE TABLE task_results (
    task_id    ulid NOT NULL REFERENCES tasks ON DELETE CASCADE,
    name       text NOT NULL CHECK (name ~ '^[A-Za-z0-9._-]{1,100}$'),
    bucket     text NOT NULL,
    etag       text NOT NULL,
    size       bigint NOT NULL CHECK (size >= 0),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (task_id, name)
);

-- Links that read a project's zip until a time, for those without a key.
CREATE TABLE links (
    hash       bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
    project_id ulid NOT NULL REFERENCES projects,
    key_id     ulid NOT NULL REFERENCES keys ON DELETE CASCADE, -- it dies with the key
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > created_at)
);
CREATE INDEX links_end ON links (expires_at);

-- Who wants to hear of what, as the running processes are configured. An
-- endpoint's id is made of its URL, which may be a secret and is not here. Each process
-- names its own ever again; one that none has named for a day is forgotten.
CREATE TABLE webhook_endpoints (
    id      text PRIMARY KEY,
    host    text NOT NULL, -- for people
    events  text[] NOT NULL,
    seen_at timestamptz NOT NULL -- when a process named it last, by the database's clock
);

-- What happened to a project, for webhooks. The rows come with the change itself, in
-- its transaction, by the triggers below; sequence and what follows from an event are
-- given to them by one dispatcher at a time, in the order in which it sees them.
CREATE TABLE events (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Its name to receivers, who drop what they know: a database that was restored
    -- gives ids again, but not these.
    uid        uuid NOT NULL DEFAULT gen_random_uuid(),
    project_id ulid NOT NULL,
    type       text NOT NULL CHECK (type IN ('image.ready', 'image.invalid', 'image.closed', 'project.settled', 'task.changed')),
    at         timestamptz NOT NULL,
    data       jsonb NOT NULL,
    -- An open image was closed: of the last one follows that the project is settled.
    closes     boolean NOT NULL DEFAULT false,
    sequence   bigint, -- within the project; null: not dispatched yet
    UNIQUE (project_id, sequence)
);
CREATE INDEX events_new ON events (id) WHERE sequence IS NULL;
CREATE INDEX events_closing ON events (project_id, id) WHERE sequence IS NULL AND closes;
CREATE INDEX events_at ON events (at);

CREATE TABLE event_sequences (
    project_id ulid PRIMARY KEY,
    last       bigint NOT NULL,
    settled_at timestamptz -- of the last project.settled
);

-- +goose StatementBegin
CREATE FUNCTION tell_image() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    closes boolean := OLD.state IN ('Pending', 'Uploading', 'Uploaded');
BEGIN
    IF EXISTS (SELECT FROM webhook_endpoints WHERE events && ARRAY['image.ready', 'image.invalid', 'project.settled']) THEN
        INSERT INTO events (project_id, type, at, closes, data) VALUES (NEW.project_id,
            CASE NEW.state WHEN 'Ready' THEN 'image.ready' WHEN 'Invalid' THEN 'image.invalid' ELSE 'image.closed' END,
            coalesce(CASE WHEN closes AND NEW.state <> 'Removed' THEN NEW.judged_at END, clock_timestamp()), closes,
            jsonb_strip_nulls(jsonb_build_object('id', NEW.id, 'name', NEW.name, 'state', NEW.state, 'attempt', NEW.attempt,
                'sha1', encode(coalesce(NEW.proven_sha1, NEW.declared_sha1), 'hex'),
                'size', coalesce(NEW.proven_size, NEW.object_size, NEW.declared_size),
                'bucket', NEW.bucket, 'reasons', to_jsonb(NEW.reasons), 'accepted', NEW.accepted)));
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd
-- image.closed is told to nobody: a removal, too, may settle a project. To take a
-- removal back judges nothing.
CREATE TRIGGER images_tell AFTER UPDATE ON images FOR EACH ROW
    WHEN (NEW.state <> OLD.state AND (NEW.state IN ('Ready', 'Invalid') AND OLD.state <> 'Removed'
        OR NEW.state = 'Removed' AND OLD.state IN ('Pending', 'Uploading', 'Uploaded')))
    EXECUTE FUNCTION tell_image();

-- +goose StatementBegin
CREATE FUNCTION tell_task() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM webhook_endpoints WHERE events && ARRAY['task.changed']) THEN
        INSERT INTO events (project_id, type, at, data) VALUES (NEW.project_id, 'task.changed', clock_timestamp(),
            jsonb_strip_nulls(jsonb_build_object('id', NEW.id, 'run_id', NEW.run_id, 'type', NEW.type, 'state', NEW.state,
                'stage', NEW.stage, 'progress', NEW.progress, 'images', NEW.images, 'bytes', NEW.bytes, 'expected', NEW.expected,
                'engine', NEW.engine, 'fault', CASE WHEN NEW.fault IS NOT NULL THEN jsonb_build_object('name', NEW.fault) END,
                'cause', nullif(NEW.cause, ''), 'created_at', NEW.created_at,
                'started_at', NEW.started_at, 'ended_at', NEW.ended_at)));
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER tasks_tell_new AFTER INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION tell_task();
CREATE TRIGGER tasks_tell AFTER UPDATE ON tasks FOR EACH ROW WHEN (NEW.state <> OLD.state) EXECUTE FUNCTION tell_task();
