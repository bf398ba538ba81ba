package main

import (
	"context"
	"fmt"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// ownersCmd keeps the people.
type ownersCmd struct {
	Create ownersCreateCmd `cmd:"" help:"Add an owner."`
	List   ownersListCmd   `cmd:"" help:"List the owners."`
}

type ownersCreateCmd struct {
	operator
	Email string `arg:"" help:"Email address; names the owner."`
	Name  string `help:"The owner's name."`
}

// Run adds the owner.
func (c *ownersCreateCmd) Run(ctx context.Context, io stdio) error {
	return c.with(ctx, io, func(_ *database, keys *broker.Keys) error {
		o, err := keys.CreateOwner(ctx, c.Email, c.Name)
		if err != nil {
			return err
		}
		fmt.Fprintf(io.Err, "Made the owner %s. A key: %s keys create --owner %s\n", o.Email, executable(), o.Email)
		fmt.Fprintln(io.Out, o.ID)
		return nil
	})
}

type ownersListCmd struct{ operator }

// Run lists them.
func (c *ownersListCmd) Run(ctx context.Context, io stdio) error {
	return c.with(ctx, io, func(db *database, _ *broker.Keys) error {
		owners, err := db.ListOwners(ctx)
		if err != nil {
			return err
		}
		var rows [][]string
		for _, o := range owners {
			rows = append(rows, []string{o.ID, o.Email, o.Name, stamp(&o.CreatedAt, "")})
		}
		return table(io, "ID\tEMAIL\tNAME\tSINCE", rows)
	})
}

// keysCmd keeps the keys.
type keysCmd struct {
	Create keysCreateCmd `cmd:"" help:"Make a key and print it, alone, on standard output. It is not kept: only its hash is."`
	List   keysListCmd   `cmd:"" help:"List the keys."`
	Revoke keysRevokeCmd `cmd:"" help:"End a key at once."`
}

type keysCreateCmd struct {
	operator
	Owner   string         `required:"" placeholder:"EMAIL" help:"Whose key it is."`
	Scopes  []string       `default:"read,upload" help:"What it may do: read, upload, manage, admin."`
	Project string         `placeholder:"P" help:"The only project it is for: its id, the beginning of its id, or its exact name."`
	Clouds  []string       `help:"The only clouds it is for: S3, OSS, MINIO."`
	Expires *time.Duration `placeholder:"720h" help:"How long it is good. Default: for ever."`
	Name    string         `help:"A name to know it by."`
}

// Run makes the key.
func (c *keysCreateCmd) Run(ctx context.Context, io stdio) error {
	n := broker.NewKey{Name: c.Name}
	if c.Expires != nil {
		if *c.Expires <= 0 {
			return &exitError{exitUsage, "--expires must be a time to come, such as 720h; leave it out for a key without an end"}
		}
		n.TTL = *c.Expires
	}
	if len(c.Scopes) == 0 {
		return &exitError{exitUsage, "--scopes names none; a key needs at least one of read, upload, manage, admin"}
	}
	for _, s := range c.Scopes {
		scope, err := broker.ParseScope(s)
		if err != nil {
			return err
		}
		n.Scopes = append(n.Scopes, scope)
	}
	for _, s := range c.Clouds {
		cloud, err := broker.ParseCloud(s)
		if err != nil {
			return err
		}
		n.Clouds = append(n.Clouds, cloud)
	}
	return c.with(ctx, io, func(db *database, keys *broker.Keys) error {
		owner, err := db.OwnerByEmail(ctx, c.Owner)
		if err != nil {
			return err
		}
		if c.Project != "" {
			if n.ProjectID, err = findProject(ctx, db, owner, c.Project); err != nil {
				return err
			}
		}
		_, secret, err := keys.Create(ctx, owner, n)
		if err != nil {
			return err
		}
		fmt.Fprintln(io.Out, secret)
		return nil
	})
}

// findProject finds one project of the owner by id, prefix or name.
func findProject(ctx context.Context, db *database, owner broker.Owner, query string) (string, error) {
	found, err := db.ListProjects(ctx, owner.ID, "", query, broker.Page{Limit: 3})
	if err != nil {
		return "", err
	}
	switch len(found) {
	case 0:
		return "", broker.Errorf(broker.CodeNotFound, "%s has no project %q", owner.Email, query)
	case 1:
		return found[0].ID, nil
	}
	for _, p := range found {
		if p.ID == query {
			return p.ID, nil
		}
	}
	return "", broker.Errorf(broker.CodeConflict, "%s has several projects %q, %s and %s among them; give the id", owner.Email, query, found[0].ID, found[1].ID)
}

type keysListCmd struct {
	operator
	Owner string `placeholder:"EMAIL" help:"Only this owner's."`
}

// Run lists them.
func (c *keysListCmd) Run(ctx context.Context, io stdio) error {
	return c.with(ctx, io, func(db *database, keys *broker.Keys) error {
		ownerID := ""
		if c.Owner != "" {
			o, err := db.OwnerByEmail(ctx, c.Owner)
			if err != nil {
				return err
			}
			ownerID = o.ID
		}
		owners, err := db.ListOwners(ctx)
		if err != nil {
			return err
		}
		email := map[string]string{}
		for _, o := range owners {
			email[o.ID] = o.Email
		}
		list, err := db.ListKeys(ctx, ownerID)
		if err != nil {
			return err
		}
		var rows [][]string
		for _, k := range list {
			state := "live"
			switch {
			case k.RevokedAt != nil:
				state = "revoked"
			case !k.Live(keys.Now()):
				state = "expired"
			}
			project := k.ProjectID
			if project == "" {
				project = "all"
			}
			rows = append(rows, []string{k.ID, k.Hint + "…", email[k.OwnerID], names(k.Scopes, ""), project, names(k.Clouds, "all"),
				stamp(k.ExpiresAt, "never"), stamp(k.LastUsed, "never"), state, k.Name})
		}
		return table(io, "ID\tKEY\tOWNER\tSCOPES\tPROJECT\tCLOUDS\tEXPIRES\tUSED\tSTATE\tNAME", rows)
	})
}

type keysRevokeCmd struct {
	operator
	ID string `arg:"" help:"The key's id, or the beginning of it; see 'keys list'."`
}

// Run revokes it.
func (c *keysRevokeCmd) Run(ctx context.Context, io stdio) error {
	return c.with(ctx, io, func(db *database, keys *broker.Keys) error {
		k, err := db.RevokeKey(ctx, c.ID, keys.Now())
		if err != nil {
			return err
		}
		fmt.Fprintf(io.Err, "Revoked the key %s (%s…).\n", k.ID, k.Hint)
		return nil
	})
}

// migrateCmd keeps the schema.
type migrateCmd struct {
	Up     migrateUpCmd     `cmd:"" help:"Bring the schema up to date; 'serve' does so by itself."`
	Status migrateStatusCmd `cmd:"" help:"Tell which migrations are applied."`
}

type migrateUpCmd struct{ operator }

// Run migrates: with does so for every command.
func (c *migrateUpCmd) Run(ctx context.Context, io stdio) error {
	return c.with(ctx, io, func(*database, *broker.Keys) error {
		fmt.Fprintln(io.Err, "The schema is up to date.")
		return nil
	})
}

type migrateStatusCmd struct{ operator }

// Run tells, and changes nothing.
func (c *migrateStatusCmd) Run(ctx context.Context, io stdio) error {
	return c.open(ctx, io, func(db *database) error {
		list, err := db.Migrations(ctx)
		if err != nil {
			return err
		}
		var rows [][]string
		for _, m := range list {
			state := "not applied"
			if m.Applied {
				state = "applied"
				if !m.At.IsZero() {
					state += " " + stamp(&m.At, "")
				}
			}
			rows = append(rows, []string{m.Name, state})
		}
		return table(io, "MIGRATION\tSTATE", rows)
	})
}
