package broker

import (
	"context"
	"slices"
)

// Register answers each entry of a batch on its own: the bytes exist, here is a
// grant, or a problem. Grants of kind session share one session.
//
// An error of Register itself means that nothing was registered: the project is
// not the caller's, the key lacks the right, the batch is too large, or no
// bucket takes the upload. Repeating a batch is safe.
//
// Bytes that the same owner has Ready in another project of the same bucket are
// copied there by the bucket itself, and exist.
func (s *Images) Register(ctx context.Context, by Caller, projectID string, to Target, entries []Entry) ([]Registered, error) {
	project, err := s.open(ctx, by, ScopeUpload, projectID)
	if err != nil {
		return nil, err
	}
	if err := s.checkBatch(len(entries)); err != nil {
		return nil, err
	}
	place, to, err := s.place(by, to)
	if err != nil {
		return nil, err
	}

	now := s.Now()
	results := make([]Registered, len(entries))
	batch := s.batch(by, projectID, place, to.Grant)
	row := make([]int, len(entries)) // index in batch.Images, -1: a problem
	byDigest := map[SHA1]int{}
	copyable := map[SHA1]bool{}
	for i, e := range entries {
		img, err := s.newImage(e)
		if err != nil {
			results[i], row[i] = Registered{Status: StatusProblem, Err: err}, -1
			continue
		}
		if twin, twice := byDigest[img.SHA1]; twice {
			batch.Images[twin].Start = batch.Images[twin].Start || img.Start
			row[i] = twin
			continue
		}
		img.ID = NewID(now)
		byDigest[img.SHA1], row[i] = len(batch.Images), len(batch.Images)
		copyable[img.SHA1] = !e.NoCopy
		batch.Images = append(batch.Images, img)
	}
	if len(batch.Images) == 0 {
		return results, nil
	}

	images, err := s.Store.Register(ctx, batch)
	if err != nil {
		return nil, err
	}
	s.copyPresent(ctx, by, project, place, images, copyable)
	g := &granter{place: place, kind: to.Grant}
	for i, e := range entries {
		if row[i] < 0 {
			continue
		}
		results[i] = s.answer(ctx, images[row[i]], g, e)
	}
	return results, nil
}

// Regrant gives open images a fresh grant each.
func (s *Images) Regrant(ctx context.Context, by Caller, projectID string, to Target, ids []string) ([]Registered, error) {
	images, err := s.batchByID(ctx, by, projectID, ids)
	if err != nil {
		return nil, err
	}
	place, to, err := s.place(by, to)
	if err != nil {
		return nil, err
	}
	batch := s.batch(by, projectID, place, to.Grant)
	for _, img := range images {
		if img.State.Open() {
			batch.Images = append(batch.Images, NewImage{ID: img.ID})
		}
	}
	granted := map[string]bool{}
	if len(batch.Images) > 0 {
		open, err := s.Store.Regrant(ctx, batch)
		if err != nil {
			return nil, err
		}
		for _, id := range open {
			granted[id] = true
		}
	}
	// What is no longer open moved between the two reads: tell it as it is now.
	if len(granted) < len(batch.Images) {
		if images, err = s.byID(ctx, projectID, ids); err != nil {
			return nil, err
		}
	}
	results := make([]Registered, len(ids))
	g := &granter{place: place, kind: to.Grant}
	for i, id := range ids {
		img, ok := images[id]
		switch {
		case !ok:
			results[i] = Registered{Status: StatusProblem, Err: errNoImage(id)}
		case granted[id]:
			results[i] = g.grant(ctx, img, Binding{SizeBytes: img.SizeBytes, SHA1: img.SHA1, ContentType: img.Type})
		case img.State == StateUploaded || img.State == StateReady:
			results[i] = Registered{Status: StatusExists, Image: img}
		case img.State == StateInvalid:
			results[i] = Registered{Status: StatusProblem, Image: img, Err: Errorf(CodeConflict, "the image is Invalid; register it again for a further attempt")}
		default:
			results[i] = Registered{Status: StatusProblem, Err: errNoImage(id)}
		}
	}
	return results, nil
}

// Start tells that uploads begin. Each id is answered with the image as it is
// now; starting twice, or what is already there, is no error.
func (s *Images) Start(ctx context.Context, by Caller, projectID string, ids []string) ([]Registered, error) {
	if _, err := s.batchByID(ctx, by, projectID, ids); err != nil {
		return nil, err
	}
	if err := s.Store.Start(ctx, projectID, onlyIDs(ids), s.Now(), by); err != nil {
		return nil, err
	}
	return s.tell(ctx, projectID, ids)
}

// Done tells that uploads ended. It is a hint and leads to a look: what the
// broker does not see itself has not arrived. Any time, any number of times.
func (s *Images) Done(ctx context.Context, by Caller, projectID string, ids []string) ([]Registered, error) {
	if _, err := s.batchByID(ctx, by, projectID, ids); err != nil {
		return nil, err
	}
	if err := s.Store.Done(ctx, projectID, onlyIDs(ids), s.Now(), by); err != nil {
		return nil, err
	}
	return s.tell(ctx, projectID, ids)
}

// Check tells of each sha1 whether its bytes are there.
func (s *Images) Check(ctx context.Context, by Caller, projectID string, digests []string) ([]Checked, error) {
	if _, err := s.open(ctx, by, ScopeRead, projectID); err != nil {
		return nil, err
	}
	if err := s.checkBatch(len(digests)); err != nil {
		return nil, err
	}
	results := make([]Checked, len(digests))
	parsed := make([]SHA1, len(digests))
	ask := make([]SHA1, 0, len(digests))
	for i, text := range digests {
		d, err := ParseSHA1(text)
		results[i] = Checked{SHA1: text, Status: CheckAbsent}
		if err != nil {
			results[i].Status, results[i].Err = CheckProblem, err
			continue
		}
		parsed[i] = d
		ask = append(ask, d)
	}
	images, err := s.Store.BySHA1(ctx, projectID, ask)
	if err != nil {
		return nil, err
	}
	found := make(map[SHA1]*Image, len(images))
	for i := range images {
		found[images[i].SHA1] = &images[i]
	}
	for i := range results {
		img := found[parsed[i]]
		if img == nil {
			continue
		}
		results[i].Image = img
		switch {
		case img.State.Open():
			results[i].Status = CheckOpen
		case img.State == StateInvalid:
			results[i].Status = CheckInvalid
		default:
			results[i].Status = CheckExists
		}
	}
	return results, nil
}

// newImage checks one entry.
func (s *Images) newImage(e Entry) (NewImage, error) {
	if err := CheckName(e.Name); err != nil {
		return NewImage{}, err
	}
	digest, err := ParseSHA1(e.SHA1)
	if err != nil {
		return NewImage{}, err
	}
	switch {
	case e.SizeBytes < 0:
		return NewImage{}, Errorf(CodeInvalidSize, "the size is missing or negative; give the file's size in bytes")
	case e.SizeBytes > s.Limits.MaxObject:
		return NewImage{}, Errorf(CodeTooLarge, "the file has %d bytes; %d are the most here", e.SizeBytes, s.Limits.MaxObject)
	}
	typ := e.Type
	if typ == "" {
		typ = TypeOf(e.Name)
	} else if err := checkType(typ); err != nil {
		return NewImage{}, err
	}
	return NewImage{
		Name: e.Name, SHA1: digest, SizeBytes: e.SizeBytes, Type: typ,
		Ext: extOf(e.Name, typ), Start: e.Start,
	}, nil
}

func (s *Images) batch(by Caller, projectID string, place Bucket, kind GrantKind) RegisterBatch {
	now := s.Now()
	return RegisterBatch{
		ProjectID: projectID, Bucket: place.Symbol, Kind: kind,
		Now: now, ExpiresAt: now.Add(place.GrantTTL), By: by,
	}
}

// answer turns a stored image into the answer of an entry.
func (s *Images) answer(ctx context.Context, img Image, g *granter, e Entry) Registered {
	if !img.State.Open() {
		return Registered{Status: StatusExists, Image: img}
	}
	if img.SizeBytes >= 0 && e.SizeBytes != img.SizeBytes {
		return Registered{Status: StatusProblem, Image: img, Err: Errorf(CodeInvalidSize,
			"a file with this sha1 is registered with %d bytes, not %d; if that was wrong, remove that image first", img.SizeBytes, e.SizeBytes)}
	}
	typ := e.Type
	if typ == "" {
		typ = TypeOf(e.Name)
	}
	return g.grant(ctx, img, Binding{SizeBytes: e.SizeBytes, SHA1: img.SHA1, ContentType: typ})
}

// batchByID loads a batch's images for a caller who may upload.
func (s *Images) batchByID(ctx context.Context, by Caller, projectID string, ids []string) (map[string]Image, error) {
	if _, err := s.open(ctx, by, ScopeUpload, projectID); err != nil {
		return nil, err
	}
	if err := s.checkBatch(len(ids)); err != nil {
		return nil, err
	}
	return s.byID(ctx, projectID, ids)
}

func (s *Images) byID(ctx context.Context, projectID string, ids []string) (map[string]Image, error) {
	images, err := s.Store.ByID(ctx, projectID, onlyIDs(ids))
	if err != nil {
		return nil, err
	}
	m := make(map[string]Image, len(images))
	for _, img := range images {
		if img.State != StateRemoved {
			m[img.ID] = img
		}
	}
	return m, nil
}

// onlyIDs leaves out what can't be an id; a store may not even take it as text.
func onlyIDs(ids []string) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !IsID(id) })
}

// tell answers each id with the image as it is now.
func (s *Images) tell(ctx context.Context, projectID string, ids []string) ([]Registered, error) {
	images, err := s.byID(ctx, projectID, ids)
	if err != nil {
		return nil, err
	}
	results := make([]Registered, len(ids))
	for i, id := range ids {
		if img, ok := images[id]; ok {
			results[i] = Registered{Status: StatusOK, Image: img}
		} else {
			results[i] = Registered{Status: StatusProblem, Err: errNoImage(id)}
		}
	}
	return results, nil
}
