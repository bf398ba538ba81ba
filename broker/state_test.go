package broker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func allEvents() []Event {
	return []Event{
		EventRegister, EventStart, EventSeen, EventExpire, EventReady, EventInvalid, EventUnchecked, EventAccept, EventRemove, EventUndo,
		EventRecheck,
	}
}

func allStates() []State {
	return []State{StateNone, StatePending, StateUploading, StateUploaded, StateReady, StateInvalid, StateRemoved}
}

// designed is the table of states in the design, written out for every pair
// whose guard holds. "-": no move. "+": a further attempt with it. "back": to
// the state before the removal.
const designed = `
            register   start      seen      expire   ready  invalid  unchecked  accept  remove   undo   recheck
none        Pending    -          -         -        -      -        -          -       -        -      -
Pending     Pending    Uploading  Uploaded  Invalid  -      -        -          -       Removed  -      -
Uploading   Uploading  -          Uploaded  Invalid  -      -        -          -       Removed  -      -
Uploaded    -          -          Uploaded  -        Ready  Invalid  Invalid    -       Removed  -      -
Ready       -          -          Uploaded  -        -      -        -          -       Removed  -      -
Invalid     Pending+   -          Uploaded  -        -      -        -          Ready   Removed  -      Uploaded
Removed     -          -          -         -        -      -        -          -       -        back   -
`

// standing is an image in that state, with every guard open to the occurrence.
func standing(s State, e Event) (Standing, Occurrence) {
	st := Standing{State: s, Attempt: 3, Damaged: true, Unchecked: true, UndoOpen: true}
	switch s {
	case StateNone:
		st = Standing{}
	case StateUploaded, StateReady, StateInvalid:
		st.ETag, st.Bucket = "old", "A"
	case StateRemoved:
		st.RemovedFrom = StateReady
	}
	o := Occurrence{Event: e, Attempt: st.Attempt, ETag: st.ETag, Bucket: "A"}
	if e == EventSeen {
		o.ETag = "new"
	}
	return st, o
}

func TestNextIsTheDesign(t *testing.T) {
	rows := strings.Split(strings.Trim(designed, "\n"), "\n")
	events := strings.Fields(rows[0])
	if len(events) != len(allEvents()) || len(rows)-1 != len(allStates()) {
		t.Fatalf("the table has %d events and %d states", len(events), len(rows)-1)
	}
	for _, row := range rows[1:] {
		cells := strings.Fields(row)
		from := State(cells[0])
		if from == "none" {
			from = StateNone
		}
		for i, cell := range cells[1:] {
			st, o := standing(from, Event(events[i]))
			want := "-"
			next, ok := Next(st, o)
			if ok {
				want = string(next.State)
				if next.Attempt != st.Attempt && from != StateNone {
					want += "+"
				}
				if o.Event == EventUndo && next.State == st.RemovedFrom {
					want = "back"
				}
			} else if next != st {
				t.Errorf("%s, %s: no move, yet it became %+v", from, o.Event, next)
			}
			if want != cell {
				t.Errorf("%q by %s goes to %s, the design says %s", from, o.Event, want, cell)
			}
		}
	}
}

func TestNextCarriesTheRest(t *testing.T) {
	for _, c := range []struct {
		name string
		s    Standing
		o    Occurrence
		want Standing
	}{
		{"the first attempt is 1", Standing{}, Occurrence{Event: EventRegister}, Standing{State: StatePending, Attempt: 1}},
		{"registering again keeps the attempt", Standing{State: StateUploading, Attempt: 4}, Occurrence{Event: EventRegister},
			Standing{State: StateUploading, Attempt: 4}},
		{"a further attempt forgets the object", Standing{State: StateInvalid, Attempt: 2, ETag: "e", Bucket: "A"}, Occurrence{Event: EventRegister},
			Standing{State: StatePending, Attempt: 3}},
		{"the object seen decides the bucket", Standing{State: StatePending, Attempt: 1},
			Occurrence{Event: EventSeen, Attempt: 1, ETag: "e", Bucket: "B"}, Standing{State: StateUploaded, Attempt: 1, ETag: "e", Bucket: "B"}},
		{"an expired image takes a late object", Standing{State: StateInvalid, Attempt: 1},
			Occurrence{Event: EventSeen, Attempt: 1, ETag: "e", Bucket: "B"}, Standing{State: StateUploaded, Attempt: 1, ETag: "e", Bucket: "B"}},
		{"removal remembers", Standing{State: StateReady, Attempt: 1, ETag: "e", Bucket: "A"}, Occurrence{Event: EventRemove},
			Standing{State: StateRemoved, RemovedFrom: StateReady, Attempt: 1, ETag: "e", Bucket: "A"}},
		{"undo restores", Standing{State: StateRemoved, RemovedFrom: StateInvalid, UndoOpen: true, Attempt: 1, ETag: "e", Bucket: "A"},
			Occurrence{Event: EventUndo}, Standing{State: StateInvalid, UndoOpen: true, Attempt: 1, ETag: "e", Bucket: "A"}},
	} {
		if got, ok := Next(c.s, c.o); !ok || got != c.want {
			t.Errorf("%s: %+v, %t", c.name, got, ok)
		}
	}
}

// TestGuards shuts each guard by itself: nothing may move then.
func TestGuards(t *testing.T) {
	for _, m := range Moves() {
		st, o := standing(m.From, m.Event)
		if _, ok := Next(st, o); !ok {
			t.Fatalf("%s by %s does not move with its guard open", m.From, m.Event)
		}
		refuse := func(why string, st Standing, o Occurrence) {
			t.Helper()
			if next, ok := Next(st, o); ok || next != st {
				t.Errorf("%q by %s, %s: moved to %+v", m.From, m.Event, why, next)
			}
		}
		switch m.Event {
		case EventSeen, EventExpire, EventReady, EventInvalid, EventUnchecked:
			for _, attempt := range []int{st.Attempt - 1, st.Attempt + 1, 0} {
				o := o
				o.Attempt = attempt
				refuse(fmt.Sprintf("of attempt %d", attempt), st, o)
			}
		}
		shut, occ := st, o
		switch m.Guard {
		case IfNewObject:
			occ.ETag = ""
			refuse("without an etag", st, occ)
			if st.ETag != "" {
				occ.ETag = st.ETag
				refuse("the same object", st, occ)
				occ = o
				occ.Bucket = "B"
				refuse("in another bucket", st, occ)
			}
		case IfSameETag:
			occ.ETag = "other"
			refuse("another object judged", st, occ)
		case IfDamaged:
			shut.Damaged = false
			refuse("not merely damaged", shut, o)
		case IfInTime:
			shut.UndoOpen = false
			refuse("too late", shut, o)
		case IfUnchecked:
			shut.Unchecked = false
			refuse("checked, or swept", shut, o)
		case Always, NextAttempt:
		default:
			t.Errorf("the guard %q has no test", m.Guard)
		}
	}
}

func TestMovesAreSane(t *testing.T) {
	moves := Moves()
	for i, m := range moves {
		if !slices.Contains(allStates(), m.From) || !slices.Contains(allStates(), m.To) || !slices.Contains(allEvents(), m.Event) {
			t.Errorf("%+v names what is not listed", m)
		}
		for _, n := range moves[:i] {
			if n.From == m.From && n.Event == m.Event {
				t.Errorf("%q by %s has two lines: the second is never reached", m.From, m.Event)
			}
		}
	}
	// Every state is reached from nothing, and every line is used on the way.
	reached := map[State]bool{StateNone: true}
	used := map[int]bool{}
	for range moves {
		for i, m := range moves {
			if reached[m.From] {
				reached[m.To], used[i] = true, true
			}
		}
	}
	for _, s := range allStates() {
		if !reached[s] {
			t.Errorf("nothing leads to %s", s)
		}
	}
	for i, m := range moves {
		if !used[i] {
			t.Errorf("%+v is never reached", m)
		}
	}
}

func TestFromStates(t *testing.T) {
	for e, want := range map[Event][]State{
		EventRegister:  {StatePending, StateUploading, StateInvalid},
		EventStart:     {StatePending},
		EventSeen:      {StatePending, StateUploading, StateUploaded, StateReady, StateInvalid},
		EventExpire:    {StatePending, StateUploading},
		EventReady:     {StateUploaded},
		EventInvalid:   {StateUploaded},
		EventUnchecked: {StateUploaded},
		EventAccept:    {StateInvalid},
		EventRemove:    {StatePending, StateUploading, StateUploaded, StateReady, StateInvalid},
		EventUndo:      {StateRemoved},
		EventRecheck:   {StateInvalid},
		"nonsense":     nil,
	} {
		if got := FromStates(e); !slices.Equal(got, want) {
			t.Errorf("FromStates(%s) = %q, want %q", e, got, want)
		}
	}
}

func TestParseState(t *testing.T) {
	for _, s := range allStates()[1:] {
		if got, err := ParseState(string(s)); err != nil || got != s {
			t.Errorf("ParseState(%q) = %q, %v", s, got, err)
		}
	}
	for _, bad := range []string{"", "ready", "READY", " Ready", "Ready "} {
		if got, err := ParseState(bad); CodeOf(err) != CodeInvalid || got != "" {
			t.Errorf("ParseState(%q) = %q, %v", bad, got, err)
		}
	}
	for _, s := range allStates() {
		if want := s == StatePending || s == StateUploading; s.Open() != want {
			t.Errorf("%q is open: %t", s, s.Open())
		}
	}
}
