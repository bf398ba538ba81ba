-- name: NameEndpoints :exec
-- A running process has these, whatever others have. What they want to hear is as the
-- process says that began last: those that go on do not say it again.
INSERT INTO webhook_endpoints AS w (id, host, events, seen_at)
SELECT e.id, e.host, string_to_array(e.events, ' '), now()
FROM (SELECT unnest(@ids::text[]) AS id, unnest(@hosts::text[]) AS host, unnest(@events::text[]) AS events) e
ON CONFLICT (id) DO UPDATE SET seen_at = now(), host = excluded.host,
    events = CASE WHEN @begins::boolean THEN excluded.events ELSE w.events END;

-- name: ForgetEndpoints :exec
-- Those that no process has named for so long.
DELETE FROM webhook_endpoints WHERE seen_at < now() - @unnamed::interval;

-- name: Endpoints :many
SELECT id, host, events FROM webhook_endpoints ORDER BY id;

-- name: EndpointConfigured :one
SELECT EXISTS (SELECT FROM webhook_endpoints WHERE id = @id)::boolean AS configured;

-- name: CancelLostDeliveries :execrows
-- To endpoints that are forgotten.
UPDATE river_job SET state = 'cancelled', finalized_at = now(),
       errors = array_append(errors, jsonb_build_object('at', now(), 'attempt', attempt, 'trace', '',
           'error', 'the endpoint is not in the configuration any more'))
WHERE kind = @kind AND state IN ('available', 'pending', 'retryable', 'scheduled')
  AND NOT EXISTS (SELECT 1 FROM webhook_endpoints e WHERE e.id = args->>'endpoint');

-- name: EventsWait :one
SELECT EXISTS (SELECT FROM events WHERE sequence IS NULL)::boolean AS waiting;

-- name: LockDispatch :one
-- Until this transaction ends nobody else dispatches events of this schema.
SELECT pg_try_advisory_xact_lock(hashtext('uploadbroker dispatch'), hashtext(current_schema()))::boolean AS locked;

-- name: Dispatch :many
-- Gives the next events their numbers within their projects, and adds that a project
-- is settled: its last open image was closed. What nobody wants to hear goes.
--
-- All of it is one statement and sees one moment. An image is closed and its event
-- is written at once, so whoever sees the last image closed sees its event, too; and
-- as long as a further closing waits for the next call, the project waits for it.
WITH batch AS MATERIALIZED (
    SELECT e.id, e.project_id, e.type, e.at, e.closes FROM events e WHERE e.sequence IS NULL ORDER BY e.id LIMIT @max_rows
), closed AS (
    SELECT b.project_id, max(b.at) AS at FROM batch b WHERE b.closes GROUP BY b.project_id
), settled AS (
    SELECT c.project_id, c.at,
           (SELECT count(*) FROM images i WHERE i.project_id = c.project_id AND i.state = 'Ready') AS ready,
           (SELECT count(*) FROM images i WHERE i.project_id = c.project_id AND i.state = 'Invalid') AS invalid
    FROM closed c
    WHERE 'project.settled' = any(@told::text[])
      AND NOT EXISTS (SELECT 1 FROM events e WHERE e.sequence IS NULL AND e.closes AND e.project_id = c.project_id
                      AND e.id > (SELECT max(b.id) FROM batch b))
      AND NOT EXISTS (SELECT 1 FROM images i WHERE i.project_id = c.project_id AND i.state IN ('Pending', 'Uploading', 'Uploaded'))
), numbered AS (
    SELECT t.id, t.project_id, t.type, t.at, t.data, row_number() OVER (PARTITION BY t.project_id ORDER BY t.id NULLS LAST) AS number,
           count(*) OVER (PARTITION BY t.project_id) AS of_project
    FROM (SELECT b.id, b.project_id, b.type, b.at, NULL::jsonb AS data FROM batch b WHERE b.type = any(@told::text[])
          UNION ALL
          SELECT NULL, s.project_id, 'project.settled', s.at, jsonb_build_object('Ready', s.ready, 'Invalid', s.invalid) FROM settled s) t
), bases AS (
    INSERT INTO event_sequences AS q (project_id, last, settled_at)
    SELECT n.project_id, count(*), max(n.at) FILTER (WHERE n.id IS NULL) FROM numbered n GROUP BY n.project_id
    ON CONFLICT (project_id) DO UPDATE SET last = q.last + excluded.last, settled_at = coalesce(excluded.settled_at, q.settled_at)
    RETURNING q.project_id, q.last
), placed AS (
    SELECT n.id, n.project_id, n.type, n.at, n.data,
           b.last - n.of_project + n.number AS sequence
    FROM numbered n JOIN bases b ON b.project_id = n.project_id
), untold AS (
    DELETE FROM events e USING batch b WHERE e.id = b.id AND NOT b.type = any(@told::text[])
), told AS (
    UPDATE events e SET sequence = p.sequence FROM placed p WHERE e.id = p.id
    RETURNING e.id, e.project_id, e.type, e.sequence
), added AS (
    INSERT INTO events (project_id, type, at, data, sequence)
    SELECT p.project_id, p.type, p.at, p.data, p.sequence FROM placed p WHERE p.id IS NULL
    RETURNING id, project_id, type, sequence
)
SELECT d.id::bigint AS id, d.type::text AS type
FROM (SELECT * FROM told UNION ALL SELECT * FROM added) d
ORDER BY d.project_id, d.sequence;

-- name: EventToTell :one
SELECT e.id, e.uid::text AS uid, e.project_id, p.name AS project_name, e.type, e.at, e.data, e.sequence::bigint AS sequence
FROM events e JOIN projects p ON p.id = e.project_id
WHERE e.id = @id AND e.sequence IS NOT NULL;

-- name: RescueDeliveries :execrows
-- Deliveries that run since before that time, which none does: their worker died. To
-- be killed is no failure of a delivery, and uses up none of its tries.
UPDATE river_job SET state = 'available', scheduled_at = now(), attempt = greatest(attempt - 1, 0)
WHERE state = 'running' AND kind = @kind AND attempted_at < @before::timestamptz;

-- name: ReviveDelivery :execrows
-- One that was given up begins again from its first try; what failed before stays on it.
UPDATE river_job SET state = 'available', attempt = 0, max_attempts = @max_attempts, attempted_at = NULL, finalized_at = NULL, scheduled_at = now()
WHERE id = @id AND kind = @kind AND state IN ('cancelled', 'discarded');

-- name: SweepEvents :execrows
-- Events of before that time that no delivery is about any more but a done one.
DELETE FROM events WHERE id IN (
    SELECT e.id FROM events e
    WHERE e.at < @before::timestamptz AND e.sequence IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM river_job j WHERE j.kind = @kind AND j.state <> 'completed'
                      AND j.args @> jsonb_build_object('event', e.id))
    LIMIT @max_rows);

-- name: DeliveryCounts :many
-- Where the deliveries to each endpoint stand, those that are done left out, and what
-- was last said of one that failed.
SELECT w.id, w.host, w.events,
       count(j.id) FILTER (WHERE j.state NOT IN ('cancelled', 'discarded')) AS waiting,
       count(j.id) FILTER (WHERE j.state IN ('cancelled', 'discarded')) AS dead,
       coalesce((array_agg(j.errors[array_upper(j.errors, 1)]->>'error' ORDER BY j.errors[array_upper(j.errors, 1)]->>'at' DESC)
           FILTER (WHERE cardinality(j.errors) > 0))[1], '')::text AS cause
FROM webhook_endpoints w
LEFT JOIN river_job j ON j.kind = @kind AND j.args->>'endpoint' = w.id AND j.state <> 'completed'
GROUP BY w.id
ORDER BY w.host, w.id;
