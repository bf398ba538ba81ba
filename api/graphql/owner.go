package graphql

import (
	"context"
	"strings"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/api/graphql/schema"
	"github.com/uploadbroker/uploadbroker/broker"
)

// asUser gives an owner his form. Clients take an empty email or username for
// nobody.
func asUser(o broker.Owner) *schema.User {
	u := &schema.User{Email: o.Email, Username: o.Name}
	if o.Name != "" {
		u.Name = &o.Name
	} else {
		u.Username, _, _ = strings.Cut(o.Email, "@")
	}
	if !o.CreatedAt.IsZero() {
		u.Joined = &o.CreatedAt
	}
	return u
}

// GetUserToken answers null for wrong credentials. fresh changes nothing: a key is
// not kept, so that no other could be given.
func (m mutation) GetUserToken(ctx context.Context, email, password string, _ *bool) (*string, error) {
	if err := m.tokens.Allow(api.Client(ctx)); err != nil {
		return nil, err
	}
	token, err := m.Keys.Token(ctx, email, password)
	if err != nil || token == "" {
		return nil, err
	}
	return &token, nil
}

func (m mutation) CreateProject(ctx context.Context, name string, _ *schema.ProjectType, imported *bool, modelType *schema.ImportedModelType, _ *schema.ProjectVisibility) (*schema.Project, error) {
	by, err := member(ctx)
	if err != nil {
		return nil, err
	}
	if imported != nil && *imported || modelType != nil {
		return nil, broker.Errorf(broker.CodeNotSupported, "models can't be imported here; create a project of photos, without imported and modelType")
	}
	p, err := m.Projects.Create(ctx, by, name, broker.KindRecon)
	if err != nil {
		return nil, err
	}
	return m.asProject(by, p), nil
}

func (m mutation) RemoveProject(ctx context.Context, id string) (*schema.Project, error) {
	by, err := member(ctx)
	if err != nil {
		return nil, err
	}
	p, err := m.Projects.Remove(ctx, by, id)
	if err != nil {
		return nil, err
	}
	return m.asProject(by, p), nil
}
