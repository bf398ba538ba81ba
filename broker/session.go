package broker

import (
	"context"
	"net/netip"
)

// granter gives the grants of one batch. A session is fetched with the first
// grant that needs it, and serves all.
type granter struct {
	place   Bucket
	kind    GrantKind
	session *CloudSession // nil: not fetched yet
	err     error         // why it could not be fetched
}

// grant gives an open image's right to be written.
func (g *granter) grant(ctx context.Context, img Image, bind Binding) Registered {
	out := Registered{Status: StatusGranted, Image: img, Grant: &Grant{Kind: g.kind, Bucket: g.place.Symbol}}
	var err error
	if g.kind == GrantSession {
		out.Grant.Key = img.Key()
		out.Grant.Session, err = g.sessionFor(ctx, img.ProjectID)
	} else {
		out.Grant.Request, err = g.place.Signer.SignPut(ctx, img.Key(), bind, g.place.GrantTTL)
	}
	if err != nil {
		return Registered{Status: StatusProblem, Image: img, Err: err}
	}
	return out
}

func (g *granter) sessionFor(ctx context.Context, projectID string) (CloudSession, error) {
	if g.session == nil && g.err == nil {
		s, err := g.place.Sessions.Session(ctx, projectID+"/")
		g.session, g.err = &s, err
	}
	if g.err != nil {
		return CloudSession{}, g.err
	}
	return *g.session, nil
}

// RegisterSession is RegisterPlain for clouds whose clients sign for themselves:
// the grant is a session, which writes anywhere below the project's prefix.
//
// With want.Image the image is registered; asked for the image alone, no session
// is fetched. What is already there is answered with another Filename than its
// own: the one that its next attempt would have, so that old scripts, which upload
// without asking, don't overwrite what was proven. With want.Grant alone no image
// is made, and of the entry nothing counts.
func (s *Images) RegisterSession(ctx context.Context, by Caller, projectID string, cloud Cloud, bucket string, client netip.Addr, e PlainEntry, want PlainWant) (img Image, grant *Grant, err error) {
	if _, err := s.open(ctx, by, ScopeUpload, projectID); err != nil {
		return Image{}, nil, err
	}
	place, err := s.placeIn(by, cloud, Target{Bucket: bucket, Grant: GrantSession, Client: client})
	if err != nil {
		return Image{}, nil, err
	}
	if want.Image {
		if img, err = s.registerForSession(ctx, by, projectID, place, e); err != nil {
			return Image{}, nil, err
		}
	}
	if !want.Grant {
		return img, nil, nil
	}
	session, err := place.Sessions.Session(ctx, projectID+"/")
	if err != nil {
		return Image{}, nil, err
	}
	if !want.Image {
		// Who has registered an image is known by its grant; who has not, by this.
		if err := s.Store.SessionGiven(ctx, projectID, place.Symbol, session.ExpiresAt); err != nil {
			return Image{}, nil, err
		}
	}
	grant = &Grant{Kind: GrantSession, Bucket: place.Symbol, Session: session}
	if want.Image {
		grant.Key = img.Key()
	}
	return img, grant, nil
}

// registerForSession registers one image; its Filename is one to be written.
func (s *Images) registerForSession(ctx context.Context, by Caller, projectID string, place Bucket, e PlainEntry) (Image, error) {
	entry, err := s.plainImage(e)
	if err != nil {
		return Image{}, err
	}
	batch := s.batch(by, projectID, place, GrantSession)
	entry.ID = NewID(batch.Now)
	batch.Images = []NewImage{entry}
	img, err := s.registerOne(ctx, batch)
	if err != nil || img.State.Open() {
		return img, err
	}
	batch.Images = []NewImage{{ID: img.ID}}
	filename, ok, err := s.Store.Spare(ctx, batch)
	if err != nil {
		return Image{}, err
	}
	if !ok {
		return Image{}, Errorf(CodeConflict, "the image changed at this moment; ask again")
	}
	img.Filename = filename
	return img, nil
}
