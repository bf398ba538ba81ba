package rest

import (
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/uploadbroker/uploadbroker/broker"
)

// tidy takes out of the description what huma puts there for everybody and is not
// so here: its own error document, which asProblem replaces, and closed schemas of
// answers. An answer may get a further field in any version; only what clients
// send is held to the letter.
func tidy(d *huma.OpenAPI) {
	all := d.Components.Schemas.Map()
	delete(all, "ErrorModel")
	delete(all, "ErrorDetail")
	// The codes are a list that grows, and so no enum.
	codes := make([]string, 0, len(broker.AllCodes()))
	for _, c := range broker.AllCodes() {
		codes = append(codes, string(c))
	}
	all["Problem"].Properties["code"].Description += " Those so far: " + strings.Join(codes, ", ") + "."
	sent := map[string]bool{}
	for _, path := range d.Paths {
		for _, op := range []*huma.Operation{path.Get, path.Post, path.Put, path.Patch, path.Delete} {
			if op == nil || op.RequestBody == nil {
				continue
			}
			for _, media := range op.RequestBody.Content {
				follow(all, media.Schema, sent)
			}
		}
	}
	for name, s := range all {
		if !sent[name] && s.AdditionalProperties == false {
			s.AdditionalProperties = nil
		}
	}
}

// follow notes the names of every schema that s refers to.
func follow(all map[string]*huma.Schema, s *huma.Schema, seen map[string]bool) {
	if s == nil {
		return
	}
	if name := s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]; s.Ref != "" {
		if !seen[name] {
			seen[name] = true
			follow(all, all[name], seen)
		}
		return
	}
	follow(all, s.Items, seen)
	for _, p := range s.Properties {
		follow(all, p, seen)
	}
}
