-- +goose Up

-- The broker fetches a URL for a client by a grant of its own.
ALTER TABLE grants DROP CONSTRAINT grants_kind_check;
ALTER TABLE grants ADD CONSTRAINT grants_kind_check CHECK (kind IN ('request', 'session', 'fetch'));

-- Whether an owner has a file Ready anywhere, by what was proven.
CREATE INDEX images_proven ON images (proven_sha1) WHERE state = 'Ready' AND NOT accepted;
