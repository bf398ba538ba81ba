-- +goose Up

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
