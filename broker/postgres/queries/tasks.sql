-- name: TaskGround :one
-- What decides whether a reconstruction may start.
SELECT count(*) FILTER (WHERE state = 'Pending') AS pending, count(*) FILTER (WHERE state = 'Uploading') AS uploading,
       count(*) FILTER (WHERE state = 'Uploaded') AS uploaded, count(*) FILTER (WHERE state = 'Ready') AS ready,
       count(*) FILTER (WHERE state = 'Invalid') AS invalid,
       coalesce(bool_or(started_at IS NOT NULL OR uploaded_at IS NOT NULL OR state IN ('Ready', 'Invalid')), false)::boolean AS begun
FROM images WHERE project_id = @project_id AND state <> 'Removed';

-- name: ActiveTask :one
SELECT * FROM tasks WHERE project_id = @project_id AND state IN ('Pending', 'Processing');

-- name: LockActiveTask :one
-- Until this transaction ends no image of the project begins to be without a verdict
-- (see hold_waiting_task), if the task waits.
SELECT * FROM tasks WHERE project_id = @project_id AND state IN ('Pending', 'Processing') FOR NO KEY UPDATE;

-- name: InsertTask :exec
INSERT INTO tasks (id, project_id, type, state, stage, expected, engine, run_id, token, owner_id, key_id, created_at, next_at)
VALUES (@id, @project_id, @type, 'Pending', 'waiting', @expected, @engine, @run_id, @token, @owner_id, @key_id, @now::timestamptz, now());

-- name: TakeImages :one
-- Gives a task the images that are Ready, if none is without a verdict and there are
-- enough, and tells what stood there: one statement, and so one moment.
WITH ground AS (
    SELECT count(*) FILTER (WHERE g.state = 'Pending') AS pending, count(*) FILTER (WHERE g.state = 'Uploading') AS uploading,
           count(*) FILTER (WHERE g.state = 'Uploaded') AS uploaded, count(*) FILTER (WHERE g.state = 'Ready') AS ready,
           count(*) FILTER (WHERE g.state = 'Invalid') AS invalid,
           coalesce(bool_or(g.started_at IS NOT NULL OR g.uploaded_at IS NOT NULL OR g.state IN ('Ready', 'Invalid')), false)::boolean AS begun
    FROM images g WHERE g.project_id = @project_id AND g.state <> 'Removed'
), taken AS (
    INSERT INTO task_images (task_id, image_id, name, type, bucket, filename, etag, size, crc32, at)
    SELECT @task_id, i.id, i.name, coalesce(nullif(i.facts->>'type', ''), i.declared_type, ''), i.bucket, i.filename, i.etag,
           i.proven_size, i.crc32,
           CASE WHEN i.facts->>'taken' ~ '^(19|20)[0-9]{2}-' THEN (i.facts->>'taken')::timestamptz ELSE i.created_at END
    FROM images i, ground
    WHERE i.project_id = @project_id AND i.state = 'Ready'
      AND ground.uploading + ground.uploaded = 0 AND ground.ready >= @expected::integer
    RETURNING size
)
SELECT ground.*, (SELECT count(*) FROM taken) AS images, (SELECT coalesce(sum(taken.size), 0) FROM taken)::bigint AS bytes FROM ground;

-- name: BeginTask :one
-- A task has its images and goes to the engine.
UPDATE tasks SET state = 'Processing', stage = 'sending', type = @type, expected = @expected, engine = @engine,
       images = @images, bytes = @bytes, begun = true, started_at = @now::timestamptz, next_at = now(), failures = 0, failing_since = NULL
WHERE id = @id AND state = 'Pending'
RETURNING *;

-- name: StopTask :execrows
-- One that was handed to the engine has still to be ended there.
WITH stopped AS (
    UPDATE tasks t SET state = 'Stopped', stage = '', cause = @cause, ended_at = @now::timestamptz, cancel = (t.state = 'Processing'),
           next_at = CASE WHEN t.state = 'Processing' THEN now() END, failures = 0, failing_since = NULL
    WHERE t.id = @id AND t.state IN ('Pending', 'Processing')
    RETURNING t.id, t.project_id, t.cancel
)
INSERT INTO audit (at, action, owner_id, key_id, project_id, detail)
SELECT @now::timestamptz, 'task.stop', sqlc.narg(owner_id)::text, sqlc.narg(key_id)::text, s.project_id,
       jsonb_build_object('task', s.id, 'was', CASE WHEN s.cancel THEN 'Processing' ELSE 'Pending' END)
FROM stopped s;

-- name: Task :one
SELECT * FROM tasks WHERE id = @id;

-- name: TaskToken :one
SELECT token FROM tasks WHERE id = @id;

-- name: ResultsOfTasks :many
SELECT * FROM task_results WHERE task_id = any(@task_ids::text[]) ORDER BY task_id, name;

-- name: ListTasks :many
SELECT * FROM tasks WHERE project_id = @project_id AND (@after::text = '' OR id < @after::text) ORDER BY id DESC LIMIT @max_rows;

-- name: ListTasksOfOwner :many
SELECT t.* FROM tasks t JOIN projects p ON p.id = t.project_id
WHERE p.owner_id = @owner_id AND p.removed_at IS NULL AND (@only_id::text = '' OR p.id = @only_id::text)
  AND starts_with(t.id::text, @prefix::text) AND (@after::text = '' OR t.id < @after::text)
ORDER BY t.id DESC LIMIT @max_rows;

-- name: LatestTasks :many
SELECT DISTINCT ON (project_id) * FROM tasks
WHERE project_id = any(@project_ids::text[]) AND (NOT @done::boolean OR state = 'Done')
ORDER BY project_id, id DESC;

-- name: TaskProgress :exec
UPDATE tasks SET progress = greatest(progress, @progress::real)
WHERE id = @id AND state = 'Processing' AND stage IN ('sending', 'running');

-- name: ReportTask :execrows
-- The engine may be done before we have noted that it took the task.
UPDATE tasks SET report = @report, stage = 'copying', next_at = now(), failures = 0, failing_since = NULL
WHERE id = @id AND state = 'Processing' AND stage IN ('sending', 'running');

-- name: ReportFailure :execrows
WITH failed AS (
    UPDATE tasks t SET report = @report, state = 'Failed', stage = '', fault = @fault::text, cause = @cause, ended_at = @now::timestamptz,
           next_at = NULL, failures = 0, failing_since = NULL
    WHERE t.id = @id AND t.state = 'Processing' AND t.stage IN ('sending', 'running')
    RETURNING t.id, t.project_id, t.fault, t.cause
)
INSERT INTO audit (at, action, project_id, detail)
SELECT @now::timestamptz, 'task.failed', f.project_id, jsonb_build_object('task', f.id, 'fault', f.fault, 'cause', f.cause) FROM failed f;

-- name: HintTask :exec
UPDATE tasks SET next_at = least(next_at, now()) WHERE id = @id AND state = 'Processing' AND stage = 'running';

-- name: RipeTasks :many
-- Tasks that wait and are due; ripe says that one may have to move. They are due again
-- in a second. One whose row an image shares at this moment is passed over.
UPDATE tasks t SET next_at = now() + interval '1 s'
FROM (SELECT d.id FROM tasks d WHERE d.state = 'Pending' AND d.next_at <= now()
      ORDER BY d.next_at LIMIT @max_rows FOR NO KEY UPDATE SKIP LOCKED) due, projects p
WHERE t.id = due.id AND p.id = t.project_id
RETURNING t.id, (p.removed_at IS NOT NULL
    OR NOT EXISTS (SELECT 1 FROM images u WHERE u.project_id = t.project_id AND u.state IN ('Uploading', 'Uploaded'))
       AND (t.begun OR EXISTS (SELECT 1 FROM images b WHERE b.project_id = t.project_id AND b.state <> 'Removed'
                               AND (b.started_at IS NOT NULL OR b.uploaded_at IS NOT NULL OR b.state IN ('Ready', 'Invalid')))))::boolean AS ripe;

-- name: LockWaitingTask :one
-- No row: it waits no more, or its row is shared by an image that moves just now.
SELECT sqlc.embed(t), (p.removed_at IS NOT NULL)::boolean AS removed
FROM tasks t JOIN projects p ON p.id = t.project_id
WHERE t.id = @id AND t.state = 'Pending' FOR NO KEY UPDATE OF t SKIP LOCKED;

-- name: FailTask :execrows
-- Also of one that waits, which nobody holds. With cancel, the engine is told.
WITH failed AS (
    UPDATE tasks t SET state = 'Failed', stage = '', fault = @fault::text, cause = @cause, ended_at = @now::timestamptz, cancel = @cancel,
           next_at = CASE WHEN @cancel THEN now() END, failures = 0, failing_since = NULL, holder = NULL, held_until = NULL
    WHERE t.id = @id AND (t.state = 'Pending' OR t.state = 'Processing' AND t.holder = @holder::text)
    RETURNING t.id, t.project_id, t.fault, t.cause
)
INSERT INTO audit (at, action, project_id, detail)
SELECT @now::timestamptz, 'task.failed', f.project_id, jsonb_build_object('task', f.id, 'fault', f.fault, 'cause', f.cause) FROM failed f;

-- name: ClaimTasks :many
-- Tasks of an engine at these stages with something to do that nobody is at; the stage
-- of one that has ended, and that the engine has to be told of, is ''.
UPDATE tasks t SET holder = @holder::text, held_until = clock_timestamp() + interval '60 s'
FROM (SELECT d.id FROM tasks d
      WHERE d.next_at <= now() AND d.engine = @engine AND d.stage = any(@stages::text[]) AND d.state <> 'Pending'
        AND (d.held_until IS NULL OR d.held_until <= clock_timestamp())
      ORDER BY d.next_at LIMIT @max_rows FOR NO KEY UPDATE SKIP LOCKED) due
WHERE t.id = due.id
RETURNING t.*;

-- name: ExtendTask :one
-- Holds a task for a further minute, and tells what became of it meanwhile.
UPDATE tasks t SET held_until = clock_timestamp() + interval '60 s'
FROM projects p
WHERE t.id = @id AND t.holder = @holder::text AND p.id = t.project_id
RETURNING t.state, t.stage, (p.removed_at IS NOT NULL)::boolean AS removed;

-- name: ReleaseTask :exec
-- Whoever holds it lets go; what comes next stays due when it was.
UPDATE tasks SET holder = NULL, held_until = NULL WHERE id = @id AND holder = @holder::text;

-- name: DropTaskHolders :exec
UPDATE tasks SET holder = NULL, held_until = NULL WHERE holder IS NOT NULL;

-- name: MoveTask :execrows
-- From one stage to the next, after which something is due.
UPDATE tasks SET stage = @to_stage, sends = sends + @sent::integer, progress = greatest(progress, @progress::real),
       next_at = now() + @pause::interval, failures = 0, failing_since = NULL, holder = NULL, held_until = NULL
WHERE id = @id AND holder = @holder::text AND state = 'Processing' AND stage = @from_stage;

-- name: TaskStepFailed :exec
-- It is tried again after a pause.
UPDATE tasks SET failures = failures + 1, failing_since = @since::timestamptz, failed_at = @now::timestamptz, next_at = now() + @pause::interval,
       holder = NULL, held_until = NULL
WHERE id = @id AND holder = @holder::text AND stage = @stage AND next_at IS NOT NULL;

-- name: RewaitTask :execrows
-- An image changed after the task began: it waits again. Should the engine have the
-- run for all that, it is another by name and token.
WITH back AS (
    UPDATE tasks t SET state = 'Pending', stage = 'waiting', images = 0, bytes = 0, started_at = NULL, next_at = now(),
           run_id = @run_id, token = @token, sends = 0, progress = 0,
           failures = 0, failing_since = NULL, holder = NULL, held_until = NULL
    WHERE t.id = @id AND t.holder = @holder::text AND t.state = 'Processing' AND t.stage = 'sending'
    RETURNING t.id, t.project_id
), given AS (
    DELETE FROM task_images g USING back b WHERE g.task_id = b.id
)
INSERT INTO audit (at, action, project_id, detail)
SELECT @now::timestamptz, 'task.wait', b.project_id, jsonb_build_object('task', b.id, 'why', @why::text) FROM back b;

-- name: ChangedTaskImages :one
-- How many of a task's images are not Ready as they were when it began.
SELECT count(*) FROM task_images t LEFT JOIN images i ON i.id = t.image_id
WHERE t.task_id = @task_id AND NOT coalesce(i.state = 'Ready' AND i.etag = t.etag AND i.bucket = t.bucket AND i.filename = t.filename, false);

-- name: TaskImages :many
-- In the order of the task's zip, or equal names would be told apart in another way.
SELECT * FROM task_images WHERE task_id = @task_id ORDER BY image_id;

-- name: BucketsOfTask :many
-- Where a task's images lie, most of them first.
SELECT bucket, count(*) AS n FROM task_images WHERE task_id = @task_id GROUP BY bucket ORDER BY n DESC, bucket;

-- name: FinishTask :execrows
WITH done AS (
    UPDATE tasks t SET state = 'Done', stage = '', progress = 100, ended_at = @now::timestamptz, next_at = NULL,
           failures = 0, failing_since = NULL, holder = NULL, held_until = NULL
    WHERE t.id = @id AND t.holder = @holder::text AND t.state = 'Processing' AND t.stage = 'copying'
    RETURNING t.id, t.project_id, t.images
), made AS (
    INSERT INTO task_results (task_id, name, bucket, etag, size, created_at)
    SELECT d.id, r.name, r.bucket, r.etag, r.size, @now::timestamptz
    FROM done d, (SELECT unnest(@names::text[]) AS name, unnest(@buckets::text[]) AS bucket, unnest(@etags::text[]) AS etag,
                         unnest(@sizes::bigint[]) AS size) r
)
INSERT INTO audit (at, action, project_id, detail)
SELECT @now::timestamptz, 'task.done', d.project_id, jsonb_build_object('task', d.id, 'images', d.images, 'results', to_jsonb(@names::text[])) FROM done d;

-- name: CancelTold :exec
-- The engine knows, or is no longer to be told.
UPDATE tasks SET cancel = false, next_at = NULL, holder = NULL, held_until = NULL WHERE id = @id AND holder = @holder::text AND cancel;

-- name: SeeEngine :exec
INSERT INTO task_engines (engine, seen_at) VALUES (@engine, clock_timestamp())
ON CONFLICT (engine) DO UPDATE SET seen_at = excluded.seen_at;

-- name: UnseenEngines :many
-- Engines that have something to do and that no worker has.
SELECT DISTINCT t.engine FROM tasks t
WHERE t.next_at IS NOT NULL AND NOT EXISTS (
    SELECT FROM task_engines e WHERE e.engine = t.engine AND e.seen_at > clock_timestamp() - @within::interval);

-- name: ForgetCancels :exec
-- Of tasks that have ended: nobody could tell their engine, for that long.
UPDATE tasks SET cancel = false, next_at = NULL, holder = NULL, held_until = NULL
WHERE engine = @engine AND cancel AND next_at < now() - @due_for::interval;

-- name: FailUnworked :many
-- Tasks that were due for that long, and that nobody is at. Should their engine come
-- back, it is told.
WITH failed AS (
    UPDATE tasks t SET state = 'Failed', stage = '', fault = @fault::text, cause = @cause, ended_at = @now::timestamptz,
           cancel = (t.stage IN ('sending', 'running')), next_at = CASE WHEN t.stage IN ('sending', 'running') THEN now() END,
           failures = 0, failing_since = NULL, holder = NULL, held_until = NULL
    WHERE t.engine = @engine AND t.state IN ('Pending', 'Processing') AND t.next_at < now() - @due_for::interval
      AND (t.held_until IS NULL OR t.held_until <= clock_timestamp())
    RETURNING t.id, t.project_id, t.fault, t.cause
)
INSERT INTO audit (at, action, project_id, detail)
SELECT @now::timestamptz, 'task.failed', f.project_id, jsonb_build_object('task', f.id, 'fault', f.fault, 'cause', f.cause) FROM failed f
RETURNING (detail->>'task')::text AS task;

-- name: StateOfTasks :many
-- For the sake of what lies where their results do.
SELECT t.id, t.state FROM tasks t WHERE t.project_id = @project_id AND t.id = any(@ids::text[]);

-- name: ResultsAt :many
SELECT r.task_id, r.name, r.etag FROM task_results r JOIN tasks t ON t.id = r.task_id
WHERE t.project_id = @project_id AND r.task_id = any(@ids::text[]) AND r.bucket = @bucket;

-- name: DeleteTasksOfProject :exec
-- But for those that the engine has still to be told of.
DELETE FROM tasks WHERE project_id = @project_id AND NOT cancel;
