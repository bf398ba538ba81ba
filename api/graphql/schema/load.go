package schema

import (
	"slices"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/uploadbroker/uploadbroker/broker"
)

// None is the member of a bucket enum whose cloud has no bucket: GraphQL has no
// empty enums.
const None = "NONE"

// BucketEnum names the enum of a cloud's buckets.
func BucketEnum(cloud broker.Cloud) string {
	switch cloud {
	case broker.CloudS3:
		return "BucketS3"
	case broker.CloudOSS:
		return "BucketOSS"
	case broker.CloudMinIO:
		return "BucketMinio"
	}
	return ""
}

// Load reads the SDL anew, with these buckets as the members of their enums, and
// returns the symbols that can't be members: no GraphQL name, one that GraphQL
// keeps for itself, or a second of its cloud. The schema is not validated again,
// so they are left out here.
func Load(buckets []broker.Bucket) (s *ast.Schema, bad []string) {
	s = gqlparser.MustLoadSchema(&ast.Source{Name: "schema.graphql", Input: sourceData("schema.graphql")})
	// What it defers would never be sent: an answer is one document.
	delete(s.Directives, "defer")
	members := map[string]ast.EnumValueList{}
	for _, b := range buckets {
		enum := BucketEnum(b.Cloud)
		if enum == "" || !isMember(b.Symbol) || members[enum].ForName(b.Symbol) != nil {
			bad = append(bad, b.Symbol)
			continue
		}
		members[enum] = append(members[enum], &ast.EnumValueDefinition{Name: b.Symbol, Description: b.Display})
	}
	for _, cloud := range []broker.Cloud{broker.CloudS3, broker.CloudOSS, broker.CloudMinIO} {
		enum := BucketEnum(cloud)
		if len(members[enum]) == 0 {
			members[enum] = ast.EnumValueList{{Name: None, Description: "There is no bucket of this cloud."}}
		}
		s.Types[enum].EnumValues = members[enum]
	}
	return s, bad
}

// isMember accepts what can be a member of an enum: a name of GraphQL's
// (October 2021, sections 2.1.9 and 3.9.1), not one of the three that are values
// of their own, and not None, which says that there is no bucket.
func isMember(s string) bool {
	if s == "" || s[0] >= '0' && s[0] <= '9' || len(s) > 1 && s[:2] == "__" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return !slices.Contains([]string{"true", "false", "null", None}, s)
}
