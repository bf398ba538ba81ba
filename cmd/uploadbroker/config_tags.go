package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// tagsConfig says what is allowed without a key.
type tagsConfig struct {
	Anonymous tagNames `yaml:"anonymous"` // tags that take files of anybody; default none
	Public    tagNames `yaml:"public"`    // tags that anybody may read; default none
	Quota     byteSize `yaml:"quota"`     // most bytes that a tag holds where one without a key adds to it; 0, the default: no bound
	MinFree   byteSize `yaml:"min_free"`  // what uploads to tags leave free of the local bucket's disk; 0, the default: what every upload leaves
}

// tagNames are names of tags: [inbox, north], or inbox alone.
type tagNames []string

// UnmarshalYAML reads them.
func (t *tagNames) UnmarshalYAML(n *yaml.Node) error {
	var names []string
	if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		names = []string{n.Value}
	} else if err := n.Decode(&names); err != nil {
		return err
	}
	for i, name := range names {
		names[i] = api.TagName(name)
	}
	*t = names
	return nil
}

// lanTag is the tag that takes files of anybody in the LAN, and shows them.
const lanTag = "inbox"

// addLAN opens the tag of --lan.
func (t *tagsConfig) addLAN() {
	for _, list := range []*tagNames{&t.Anonymous, &t.Public} {
		if !slices.ContainsFunc(*list, func(name string) bool { return strings.EqualFold(name, lanTag) }) {
			*list = append(slices.Clone(*list), lanTag)
		}
	}
}

// bound tells how much anybody may send to a tag.
func (t tagsConfig) bound() string {
	switch {
	case t.Quota > 0:
		return "It holds up to " + size(int64(t.Quota)) + "."
	case t.MinFree > 0:
		return "It takes files until the disk has " + size(int64(t.MinFree)) + " left; `tags: {quota: 10GiB}` in the configuration bounds it."
	}
	// What package local leaves free.
	return "It takes files until the disk has 256 MiB left (a small disk 5 %); `tags: {quota: 10GiB}` in the configuration (--config) bounds it."
}

func (c *config) finishTags(fault func(key, format string, args ...any)) {
	for _, list := range []struct {
		key   string
		names tagNames
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
