-- +goose Up

-- session_ends: until when somebody may have a session that writes below the
-- project's prefix in this bucket, given without a grant for an image. Until then
-- what is Ready there may be overwritten, as with a grant.
ALTER TABLE watches ADD COLUMN session_ends timestamptz NOT NULL DEFAULT 'epoch';
