package worker

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/storage"
)

// Orphans lists what serves no image in a bucket: found is told of each, in the
// order of their keys, then of unfinished uploads, then of foreign prefixes.
// What lies outside projects and the program's own prefixes is none of ours and
// not even listed.
func (w *Worker) Orphans(ctx context.Context, b *storage.Bucket, found func(Orphan) error) error {
	s := &search{w: w, b: b, found: found, foreign: map[string]*Orphan{}}
	for first := '0'; first <= '7'; first++ { // as every id begins
		if err := s.objects(ctx, string(first), s.projects); err != nil {
			return err
		}
	}
	for _, prefix := range []string{broker.ThumbPrefix(""), broker.ResultPrefix("")} {
		if err := s.objects(ctx, prefix, s.projects); err != nil {
			return err
		}
	}
	for _, prefix := range storage.OwnPrefixes() {
		if err := s.objects(ctx, prefix, s.own); err != nil {
			return err
		}
	}
	if b.CanSweepMultiparts() {
		ups, err := b.Multiparts(ctx, "")
		if err != nil {
			return err
		}
		if err := s.multiparts(ctx, ups); err != nil {
			return err
		}
	}
	prefixes := make([]Orphan, 0, len(s.foreign))
	for _, o := range s.foreign {
		prefixes = append(prefixes, *o)
	}
	slices.SortFunc(prefixes, func(a, b Orphan) int { return cmp.Compare(a.Key, b.Key) })
	for _, o := range prefixes {
		if err := found(o); err != nil {
			return err
		}
	}
	return nil
}

// search is one listing of a bucket.
type search struct {
	w       *Worker
	b       *storage.Bucket
	found   func(Orphan) error
	foreign map[string]*Orphan // by prefix
}

// objects hands every page below a prefix to f.
func (s *search) objects(ctx context.Context, prefix string, f func(context.Context, []Orphan) error) error {
	for after := ""; ; {
		page, err := s.b.List(ctx, prefix, after, listPage)
		if err != nil {
			return err
		}
		orphans := make([]Orphan, len(page))
		for i, obj := range page {
			orphans[i] = s.w.orphan(s.b, obj)
			after = obj.Key
		}
		if err := f(ctx, orphans); err != nil || len(page) < listPage {
			return err
		}
	}
}

// orphan is an object of which nothing is known but what the bucket told.
func (w *Worker) orphan(b *storage.Bucket, obj storage.Object) Orphan {
	o := Orphan{
		Bucket: b.Info().Symbol, Key: obj.Key, Objects: 1, SizeBytes: obj.SizeBytes, Modified: obj.Modified, etag: obj.ETag,
	}
	if id, filename, ok := strings.Cut(obj.Key, "/"); ok && broker.IsID(id) {
		o.projectID, o.filename = id, filename
	} else if id, image, ok := broker.ParseThumbKey(obj.Key); ok {
		o.projectID, o.thumbOf, o.thumb = id, image, true
	} else if id, task, _, ok := broker.ParseResultKey(obj.Key); ok {
		o.projectID, o.resultOf, o.result = id, task, true
	}
	return o
}

func (w *Worker) multipart(b *storage.Bucket, up storage.Multipart) Orphan {
	o := w.orphan(b, storage.Object{Key: up.Key, SizeBytes: -1, Modified: up.Began})
	o.uploadID = up.UploadID
	return o
}

// projects classifies objects of any number of projects.
func (s *search) projects(ctx context.Context, page []Orphan) error {
	for len(page) > 0 {
		id := page[0].projectID
		n := slices.IndexFunc(page, func(o Orphan) bool { return o.projectID != id })
		if n < 0 {
			n = len(page)
		}
		part := page[:n]
		page = page[n:]
		if id == "" {
			continue
		}
		if err := s.project(ctx, id, part); err != nil {
			return err
		}
	}
	return nil
}

// project classifies objects and uploads of one project.
func (s *search) project(ctx context.Context, id string, part []Orphan) error {
	classified, err := s.w.classify(ctx, s.b, id, part)
	if err != nil {
		return err
	}
	for _, o := range classified {
		switch o.Class {
		case OrphanNone:
		case OrphanForeign:
			s.addForeign(o)
		default:
			if err := s.found(o); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *search) addForeign(o Orphan) {
	prefix := o.projectID + "/"
	switch {
	case o.thumb:
		prefix = broker.ThumbPrefix(o.projectID)
	case o.result:
		prefix = broker.ResultPrefix(o.projectID)
	}
	all := s.foreign[prefix]
	if all == nil {
		all = &Orphan{Bucket: o.Bucket, Class: OrphanForeign, Key: prefix, Why: o.Why}
		s.foreign[prefix] = all
	}
	all.Objects++
	all.SizeBytes += max(o.SizeBytes, 0)
	if o.Modified.After(all.Modified) {
		all.Modified = o.Modified
	}
}

// own classifies what the program itself left behind.
func (s *search) own(_ context.Context, page []Orphan) error {
	for _, o := range page {
		if err := s.found(s.w.leftover(o)); err != nil {
			return err
		}
	}
	return nil
}

func (w *Worker) leftover(o Orphan) Orphan {
	o.Class, o.Why = OrphanStray, "left by a try of the bucket"
	o.DueAt = w.Retention.due(o, w.Retention.Orphans)
	return o
}

// multiparts classifies unfinished uploads anywhere in the bucket.
func (s *search) multiparts(ctx context.Context, ups []storage.Multipart) error {
	slices.SortStableFunc(ups, func(a, b storage.Multipart) int { return cmp.Compare(a.Key, b.Key) })
	var page []Orphan
	for _, up := range ups {
		o := s.w.multipart(s.b, up)
		if o.projectID != "" {
			page = append(page, o)
			continue
		}
		if slices.ContainsFunc(storage.OwnPrefixes(), func(p string) bool { return strings.HasPrefix(o.Key, p) }) {
			if err := s.found(s.w.leftover(o)); err != nil {
				return err
			}
		}
	}
	return s.projects(ctx, page)
}

// classify asks the database about objects of one project.
func (w *Worker) classify(ctx context.Context, b *storage.Bucket, projectID string, objects []Orphan) ([]Orphan, error) {
	files, err := w.Store.Files(ctx, projectID, b.Info().Symbol, namesOf(objects), w.Now())
	if err != nil {
		return nil, err
	}
	classified := make([]Orphan, len(objects))
	for i, o := range objects {
		classified[i] = w.Retention.classify(o, files)
	}
	return classified, nil
}

// namesOf names each file, thumbnail and task once.
func namesOf(objects []Orphan) (names postgres.Names) {
	for _, o := range objects {
		switch {
		case o.thumbOf != "":
			names.Thumbs = append(names.Thumbs, o.thumbOf)
		case o.resultOf != "":
			names.Tasks = append(names.Tasks, o.resultOf)
		case !o.thumb && !o.result:
			names.Files = append(names.Files, o.filename)
		}
	}
	slices.Sort(names.Files)
	slices.Sort(names.Thumbs)
	slices.Sort(names.Tasks)
	return postgres.Names{Files: slices.Compact(names.Files), Thumbs: slices.Compact(names.Thumbs), Tasks: slices.Compact(names.Tasks)}
}
