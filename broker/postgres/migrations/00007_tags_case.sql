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
