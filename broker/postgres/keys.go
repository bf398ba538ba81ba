package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres/sqlc"
)

var _ broker.KeyStore = (*Store)(nil)

// CreateOwner implements broker.KeyStore.
func (s *Store) CreateOwner(ctx context.Context, o broker.Owner) error {
	return s.inTx(ctx, func(_ pgx.Tx, q *sqlc.Queries) error {
		err := q.CreateOwner(ctx, sqlc.CreateOwnerParams{ID: o.ID, Email: o.Email, Name: o.Name, CreatedAt: o.CreatedAt})
		if isViolation(err, "owners_email") {
			return broker.Errorf(broker.CodeConflict, "there is an owner %s already", o.Email)
		}
		if err != nil {
			return err
		}
		return audit(ctx, q, o.CreatedAt, "owner.create", broker.Caller{Owner: o}, "", "", map[string]any{"email": o.Email})
	})
}

// OwnerByEmail implements broker.KeyStore.
func (s *Store) OwnerByEmail(ctx context.Context, email string) (broker.Owner, error) {
	r, err := s.q.OwnerByEmail(ctx, email)
	if errors.Is(err, pgx.ErrNoRows) {
		return broker.Owner{}, broker.Errorf(broker.CodeNotFound, "there is no owner %s; `uploadbroker owners list` tells whom there is", email)
	}
	return toOwner(r), wrap(err)
}

// ListOwners implements broker.KeyStore.
func (s *Store) ListOwners(ctx context.Context) ([]broker.Owner, error) {
	rows, err := s.q.ListOwners(ctx)
	owners := make([]broker.Owner, len(rows))
	for i, r := range rows {
		owners[i] = toOwner(r)
	}
	return owners, wrap(err)
}

// CreateKey implements broker.KeyStore.
func (s *Store) CreateKey(ctx context.Context, k broker.Key, hash [32]byte) (id string, err error) {
	err = s.inTx(ctx, func(_ pgx.Tx, q *sqlc.Queries) (err error) {
		id, err = q.CreateKey(ctx, sqlc.CreateKeyParams{
			ID: k.ID, OwnerID: k.OwnerID, Hash: hash[:], Hint: k.Hint, Name: k.Name, Scopes: strs(k.Scopes),
			ProjectID: orNull(k.ProjectID), Clouds: strs(k.Clouds), CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt,
		})
		if errors.Is(err, pgx.ErrNoRows) {
			return broker.Errorf(broker.CodeConflict, "another owner's key has this secret; choose another one")
		}
		if err != nil {
			return err
		}
		return audit(ctx, q, k.CreatedAt, "key.create", broker.Caller{Owner: broker.Owner{ID: k.OwnerID}}, k.ProjectID, "",
			map[string]any{"key": id, "name": k.Name, "hint": k.Hint, "scopes": k.Scopes, "clouds": k.Clouds})
	})
	return id, err
}

// KeyByHash implements broker.KeyStore.
func (s *Store) KeyByHash(ctx context.Context, hash [32]byte) (broker.Caller, error) {
	r, err := s.q.KeyByHash(ctx, hash[:])
	if err != nil {
		return broker.Caller{}, wrap(err)
	}
	return broker.Caller{Owner: toOwner(r.Owner), Key: toKey(r.Key)}, nil
}

// ListKeys implements broker.KeyStore.
func (s *Store) ListKeys(ctx context.Context, ownerID string) ([]broker.Key, error) {
	rows, err := s.q.ListKeys(ctx, ownerID)
	keys := make([]broker.Key, len(rows))
	for i, r := range rows {
		keys[i] = toKey(r)
	}
	return keys, wrap(err)
}

// RevokeKey implements broker.KeyStore.
func (s *Store) RevokeKey(ctx context.Context, idPrefix string, now time.Time) (broker.Key, error) {
	if !broker.IsIDPrefix(idPrefix) { // every id begins with ""
		return broker.Key{}, errNoKey(idPrefix)
	}
	var key broker.Key
	err := s.inTx(ctx, func(_ pgx.Tx, q *sqlc.Queries) error {
		rows, err := q.KeysByPrefix(ctx, idPrefix)
		switch {
		case err != nil:
			return err
		case len(rows) == 0:
			return errNoKey(idPrefix)
		case len(rows) > 1:
			return broker.Errorf(broker.CodeConflict, "several keys' ids begin with %q; give more of it", idPrefix)
		}
		key = toKey(rows[0])
		if err := q.RevokeKey(ctx, sqlc.RevokeKeyParams{Now: now, ID: key.ID}); err != nil {
			return err
		}
		return audit(ctx, q, now, "key.revoke", broker.Caller{Owner: broker.Owner{ID: key.OwnerID}}, key.ProjectID, "",
			map[string]any{"key": key.ID, "name": key.Name, "hint": key.Hint})
	})
	return key, err
}

func errNoKey(idPrefix string) error {
	return broker.Errorf(broker.CodeNotFound, "no key's id begins with %q; `uploadbroker keys list` shows the ids", idPrefix)
}

// TouchKey implements broker.KeyStore.
func (s *Store) TouchKey(ctx context.Context, id string, now time.Time) error {
	return wrap(s.q.TouchKey(ctx, sqlc.TouchKeyParams{Now: now, ID: id}))
}

// AnyKey implements broker.KeyStore.
func (s *Store) AnyKey(ctx context.Context) (bool, error) {
	any, err := s.q.AnyKey(ctx)
	return any, wrap(err)
}

// CreateSession implements broker.KeyStore.
func (s *Store) CreateSession(ctx context.Context, n broker.Session, hash [32]byte) error {
	kind := "session"
	if n.Code {
		kind = "code"
	}
	return wrap(s.q.CreateSession(ctx, sqlc.CreateSessionParams{
		Hash: hash[:], KeyID: n.KeyID, Kind: kind, CreatedAt: n.CreatedAt, ExpiresAt: n.ExpiresAt,
	}))
}

// SessionByHash implements broker.KeyStore.
func (s *Store) SessionByHash(ctx context.Context, hash [32]byte, now time.Time) (broker.Session, broker.Caller, error) {
	r, err := s.q.SessionByHash(ctx, sqlc.SessionByHashParams{Hash: hash[:], Now: now})
	if err != nil {
		return broker.Session{}, broker.Caller{}, wrap(err)
	}
	session := broker.Session{KeyID: r.Session.KeyID, CreatedAt: r.Session.CreatedAt, ExpiresAt: r.Session.ExpiresAt}
	return session, broker.Caller{Owner: toOwner(r.Owner), Key: toKey(r.Key)}, nil
}

// TakeCode implements broker.KeyStore.
func (s *Store) TakeCode(ctx context.Context, hash [32]byte, now time.Time) (string, error) {
	id, err := s.q.TakeCode(ctx, sqlc.TakeCodeParams{Hash: hash[:], Now: now})
	return id, wrap(err)
}

// EndSession implements broker.KeyStore.
func (s *Store) EndSession(ctx context.Context, hash [32]byte) error {
	return wrap(s.q.EndSession(ctx, hash[:]))
}
