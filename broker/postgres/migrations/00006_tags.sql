-- +goose Up

-- Tags whose names differ by case alone are one: keyboards of phones begin with a
-- capital. A tag is shown as it was written first.
-- Of those that became one, the first owner's or else the oldest keeps its name; the
-- others have a part of their ids added, as their owners see on their lists.
UPDATE projects SET tag = normalize(tag, NFC)
WHERE tag IS NOT NULL AND removed_at IS NULL AND getdatabaseencoding() = 'UTF8' AND tag IS NOT NFC NORMALIZED
  AND NOT EXISTS (SELECT 1 FROM projects o WHERE o.removed_at IS NULL AND o.tag = normalize(projects.tag, NFC));
UPDATE projects p
SET tag = CASE WHEN octet_length(p.tag) <= 93 THEN p.tag ELSE left(p.tag, 23) END || '-' || lower(right(p.id::text, 6))
FROM (SELECT id, row_number() OVER (PARTITION BY lower(tag)
        ORDER BY owner_id = (SELECT o.id FROM owners o ORDER BY o.id LIMIT 1) DESC, created_at, id) AS n
      FROM projects WHERE tag IS NOT NULL AND removed_at IS NULL) q
WHERE p.id = q.id AND q.n > 1;
DROP INDEX projects_tag;
CREATE UNIQUE INDEX projects_tag ON projects (lower(tag)) WHERE removed_at IS NULL;

-- How often a file of this name came to a tag: the second of a name is told apart by
-- its number, and no number is given twice. A tag may hold twenty thousand files that
-- a phone calls image.jpg; counting them anew for each would take ever longer.
CREATE TABLE tag_names (
    project_id ulid NOT NULL REFERENCES projects ON DELETE CASCADE,
    name       text NOT NULL,
    n          integer NOT NULL,
    PRIMARY KEY (project_id, name)
);

-- A project's row outlives its removal; the names needn't.
-- +goose StatementBegin
CREATE FUNCTION forget_tag_names() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM tag_names WHERE project_id = NEW.id;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER projects_forget_tag_names AFTER UPDATE ON projects FOR EACH ROW
    WHEN (NEW.final_at IS NOT NULL AND OLD.final_at IS NULL AND NEW.tag IS NOT NULL) EXECUTE FUNCTION forget_tag_names();
