-- The part of River's table that our queries read, for sqlc to know its types.
-- River's own migrations make the table.
CREATE TABLE river_job (
    id bigint NOT NULL,
    kind text NOT NULL,
    state text NOT NULL,
    args jsonb NOT NULL,
    attempt smallint NOT NULL,
    max_attempts smallint NOT NULL,
    attempted_at timestamptz,
    created_at timestamptz NOT NULL,
    scheduled_at timestamptz NOT NULL,
    finalized_at timestamptz,
    errors jsonb[]
);
