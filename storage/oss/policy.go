package oss

import (
	"encoding/json"
	"fmt"
	"regexp"
)

// sessionPrefix is what a session may be for: one folder, named by characters
// that no policy reads as a pattern and no server as a path. "*" and "?" would
// widen the policy's resource, "/" and ".." would move it.
var sessionPrefix = regexp.MustCompile(`^[A-Za-z0-9_-]+/$`)

// roleARN is the form of a role's name.
var roleARN = regexp.MustCompile(`^acs:ram::\d+:role/[\w.@-]+$`)

// policy is RAM's policy language, as far as sessions need it (Aliyun RAM,
// "Policy structure and syntax").
type policy struct {
	Version   string
	Statement []statement
}

type statement struct {
	Effect   string
	Action   []string
	Resource []string
}

// sessionPolicy cuts a role down to writing below a prefix. oss:PutObject covers
// uploads whole and in parts, and copies only together with oss:GetObject on the
// source, which is not given (Aliyun OSS, "RAM policies", table of actions).
func sessionPolicy(bucket, prefix string) (string, error) {
	text, err := json.Marshal(policy{Version: "1", Statement: []statement{{
		Effect:   "Allow",
		Action:   []string{"oss:PutObject", "oss:AbortMultipartUpload", "oss:ListParts"},
		Resource: []string{"acs:oss:*:*:" + bucket + "/" + prefix + "*"},
	}}})
	if err != nil {
		return "", fmt.Errorf("oss: write a policy: %w", err)
	}
	return string(text), nil
}
