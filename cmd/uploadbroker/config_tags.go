package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/uploadbroker/uploadbroker/broker"
)

// tagsConfig says what is allowed without a key.
type tagsConfig struct {
	Anonymous []string `yaml:"anonymous"` // tags that take files of anybody; default none
	Public    []string `yaml:"public"`    // tags that anybody may read; default none
	Quota     byteSize `yaml:"quota"`     // most bytes that a tag holds where one without a key adds to it; 0, the default: no bound
	MinFree   byteSize `yaml:"min_free"`  // what uploads to tags leave free of the local bucket's disk; 0, the default: what every upload leaves
}

// lanTag is the tag that takes files of anybody in the LAN, and shows them.
const lanTag = "inbox"

// addLAN opens the tag of --lan.
func (t *tagsConfig) addLAN() {
	for _, list := range []*[]string{&t.Anonymous, &t.Public} {
		if !slices.Contains(*list, lanTag) {
			*list = append(slices.Clone(*list), lanTag)
		}
	}
}

func (c *config) finishTags(fault func(key, format string, args ...any)) {
	for _, list := range []struct {
		key   string
		names []string
	}{{"tags.anonymous", c.Tags.Anonymous}, {"tags.public", c.Tags.Public}} {
		for i, name := range list.names {
			var known *broker.Error
			if errors.As(broker.CheckTagName(name), &known) {
				fault(fmt.Sprintf("%s.%d", list.key, i), "%q is no name: %s", name, known.Msg)
			}
		}
	}
}

// policy is what package broker goes by.
func (t tagsConfig) policy() broker.TagPolicy {
	return broker.TagPolicy{
		Anonymous: t.Anonymous, Public: t.Public, QuotaBytes: int64(t.Quota), MinFreeBytes: int64(t.MinFree),
	}
}
