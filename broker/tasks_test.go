package broker_test

import (
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/uploadbroker/uploadbroker/broker"
)

// TestSettled is the rule of pre-starts by the numbers alone; package postgres tries
// it on rows.
func TestSettled(t *testing.T) {
	for name, c := range map[string]struct {
		pending, uploading, uploaded, ready, invalid int
		begun                                        bool
		expected                                     int
		fire                                         bool
		fault                                        string
	}{
		"nothing":              {},
		"only registered":      {pending: 3},
		"expired, all of it":   {invalid: 3},
		"Uploading":            {uploading: 1, ready: 5, begun: true},
		"Uploaded":             {uploaded: 1, ready: 5, begun: true},
		"judged":               {ready: 5, invalid: 2, begun: true, fire: true},
		"judged, some to come": {pending: 9, ready: 5, begun: true, fire: true},
		"bad":                  {invalid: 2, begun: true, fault: broker.FaultNoReadyImage},
		"bad, some to come":    {pending: 1, invalid: 2, begun: true},
		"too few":              {ready: 2, begun: true, expected: 3, fault: broker.FaultTooFewReady},
		"too few, to come":     {pending: 1, ready: 2, begun: true, expected: 3},
		"enough":               {ready: 3, begun: true, expected: 3, fire: true},
	} {
		g := broker.TaskGround{Begun: c.begun, Active: &broker.Task{State: broker.TaskPending}, Counts: broker.Counts{
			broker.StatePending: c.pending, broker.StateUploading: c.uploading, broker.StateUploaded: c.uploaded,
			broker.StateReady: c.ready, broker.StateInvalid: c.invalid,
		}}
		fire, fault := g.Settled(c.expected)
		if got := ""; fault != nil {
			if got = fault.Name; got != c.fault || fire {
				t.Errorf("%s: %v %s", name, fire, got)
			}
		} else if fire != c.fire || c.fault != "" {
			t.Errorf("%s: fires %v without a fault", name, fire)
		}
	}
}

func TestFaultNumbers(t *testing.T) {
	for number, name := range map[int]string{
		1: "IMAGES_UNJUDGED", 2: "NO_READY_IMAGE", 3: "TOO_FEW_READY", 4: "ALREADY_RUNNING", 5: "NO_ENGINE", 6: "NOT_ALLOWED", 7: "ENGINE_FAILED",
	} {
		if f := broker.NewTaskFault(name, "x"); f.Number != number || string(f.Code()) != strings.ToLower(name) {
			t.Errorf("%+v", f)
		}
	}
}

// TestNamesAtTheEngine: NodeODM takes UUIDs of the versions 1 to 5 and no other form.
func TestNamesAtTheEngine(t *testing.T) {
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	token := regexp.MustCompile(`^[A-Za-z0-9_-]{32,}$`)
	seen := map[string]bool{}
	for range 100 {
		id, secret := broker.NewRunID(), broker.NewTaskToken()
		if !uuid.MatchString(id) || !token.MatchString(secret) || seen[id] || seen[secret] {
			t.Fatal(id, secret)
		}
		seen[id], seen[secret] = true, true
	}
}

func TestResultKeys(t *testing.T) {
	pid, id := broker.NewID(time.Now()), broker.NewID(time.Now())
	for key, want := range map[string][4]string{
		broker.ResultKey(pid, id, "all.zip"):    {pid, id, "all.zip", "yes"},
		broker.ResultPrefix(pid) + "notes":      {pid, "", "", "yes"},
		broker.ResultPrefix(pid) + id:           {pid, "", "", "yes"},
		broker.ResultKey(pid, id, "a/b"):        {pid, "", "", "yes"},
		broker.ResultKey(pid, id, ".."):         {pid, "", "", "yes"},
		broker.ResultKey("x", id, "all.zip"):    {},
		pid + "/" + id + "/all.zip":             {},
		"results/":                              {},
		"results":                               {},
		broker.ThumbKey(pid, id):                {},
		"results/" + strings.ToLower(pid) + "/": {},
	} {
		p, task, name, ok := broker.ParseResultKey(key)
		got := [4]string{p, task, name, map[bool]string{true: "yes"}[ok]}
		if got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	for name, want := range map[string]bool{
		"all.zip": true, "a": true, "-_.9": true, strings.Repeat("x", 100): true, ".hidden": true,
		"": false, ".": false, "..": false, "...": false, "a b": false, "a/b": false, "ä": false, "a\x00": false, strings.Repeat("x", 101): false,
	} {
		if broker.IsResultName(name) != want {
			t.Errorf("%q", name)
		}
	}
}

// TestCleanCause: an engine's words are foreign text.
func TestCleanCause(t *testing.T) {
	for in, want := range map[string]string{
		"  so it is\n": "so it is", "a\x00b\x1b[0m": "a b [0m", "bad \xff": "bad ?", "": "", "照片": "照片",
	} {
		if got := broker.CleanCause(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
	if got := broker.CleanCause(strings.Repeat("照", 3000)); len(got) > 2010 || !utf8.ValidString(got) || !strings.HasSuffix(got, "…") {
		t.Errorf("%d bytes", len(got))
	}
}
