-- +goose Up

-- Somebody says that the object of an image changed which no look waits for: it
-- is Uploaded, Ready or Invalid. The next look at the bucket asks for it, too.
-- The row goes when that look is over.
CREATE TABLE hints (
    image_id   ulid NOT NULL REFERENCES images ON DELETE CASCADE,
    bucket     text NOT NULL,
    project_id ulid NOT NULL,
    hinted_at  timestamptz NOT NULL, -- by the database's clock
    PRIMARY KEY (image_id, bucket)
);
CREATE INDEX hints_place ON hints (project_id, bucket);

-- What a sender of a bucket's events shows. They are hints and no more, so that
-- the secret may lie here as it is, for operators to read it again.
CREATE TABLE event_secrets (
    bucket     text PRIMARY KEY,
    secret     text NOT NULL CHECK (octet_length(secret) >= 16),
    created_at timestamptz NOT NULL
);

-- reconcile_at: when etags are compared next, earlier than a day after the last
-- time, because somebody may still overwrite what is Ready, or because the last
-- comparison did not come to its end. swept_at: when what serves no image any more
-- was last deleted there. fault: why the last look failed, in words for an
-- operator; '' when it did not.
ALTER TABLE watches
    ADD COLUMN reconcile_at timestamptz,
    ADD COLUMN swept_at timestamptz NOT NULL DEFAULT 'epoch',
    ADD COLUMN looks bigint NOT NULL DEFAULT 0,
    ADD COLUMN fault text NOT NULL DEFAULT '';
CREATE INDEX watches_reconcile_at ON watches (reconcile_at) WHERE reconcile_at IS NOT NULL;
CREATE INDEX watches_due_in ON watches (bucket, next_look_at) WHERE next_look_at IS NOT NULL;
DROP INDEX watches_due;

-- Of a grant of kind fetch: the URL. It may be a secret; a job's arguments are
-- shown to operators.
ALTER TABLE grants ADD COLUMN source text CHECK (source IS NULL OR kind = 'fetch');

-- When the object of an Invalid image was deleted, since its retention was over.
ALTER TABLE images ADD COLUMN swept_at timestamptz;

-- Images that could not be checked, for an operator to list and to try again.
CREATE INDEX images_unchecked ON images (judged_at) WHERE state = 'Invalid' AND split_part(reasons[1], ':', 1) = 'unchecked';
