package broker

// State is where an image stands.
type State string

// The states. Ready and Invalid are verdicts; Removed hides the image from
// everything but undo.
const (
	StateNone      State = "" // no such image yet
	StatePending   State = "Pending"
	StateUploading State = "Uploading"
	StateUploaded  State = "Uploaded"
	StateReady     State = "Ready"
	StateInvalid   State = "Invalid"
	StateRemoved   State = "Removed"
)

// ParseState reads a state's name to the letter.
func ParseState(s string) (State, error) {
	switch st := State(s); st {
	case StatePending, StateUploading, StateUploaded, StateReady, StateInvalid, StateRemoved:
		return st, nil
	}
	return "", Errorf(CodeInvalid, "unknown state %q: it is one of Pending, Uploading, Uploaded, Ready, Invalid", s)
}

// Open reports whether the image still waits for its bytes.
func (s State) Open() bool { return s == StatePending || s == StateUploading }

// Event is something that happens to an image.
type Event string

// The events.
const (
	EventRegister  Event = "register"  // a client asks to upload it
	EventStart     Event = "start"     // a client begins
	EventSeen      Event = "seen"      // an object was seen at a granted key
	EventExpire    Event = "expire"    // every grant ended 5 min ago and a last look saw nothing
	EventReady     Event = "ready"     // the verdict is sound
	EventInvalid   Event = "invalid"   // the verdict has reasons
	EventUnchecked Event = "unchecked" // it could not be checked, 10 times over at least an hour
	EventAccept    Event = "accept"    // the owner keeps a damaged one
	EventRemove    Event = "remove"    //
	EventUndo      Event = "undo"      // of a removal, within 10 minutes
	EventRecheck   Event = "recheck"   // an operator has what could not be checked tried again
)

// A Move is one line of the table of legal moves. A pair of state and event
// without a line is no move and no error: the image stays as it is.
type Move struct {
	From  State
	Event Event
	To    State // StateRemoved with EventUndo: the state that it was removed from
	Guard Guard
}

// Guard is a condition beyond state and event. Every move also needs the
// occurrence to speak of the image's present attempt.
type Guard string

// The guards.
const (
	Always      Guard = ""
	IfNewObject Guard = "new object"   // its etag differs from the one that the image holds, if it holds one, in the image's bucket, if it has one
	IfSameETag  Guard = "same etag"    // what was judged is what the image holds
	IfDamaged   Guard = "damaged"      // every reason is corrupt or truncated, and the bytes are proven
	NextAttempt Guard = "next attempt" // always; the move begins a further attempt with a key of its own
	IfInTime    Guard = "in time"      // undo_until has not passed and nothing has taken its place
	IfUnchecked Guard = "unchecked"    // its only reason is unchecked, and its object was not swept
)

// Moves is the table of all legal moves of an image. SQL performs each as a
// compare-and-set on id, state, attempt and etag.
func Moves() []Move {
	return []Move{
		{StateNone, EventRegister, StatePending, Always},
		{StatePending, EventRegister, StatePending, Always},
		{StateUploading, EventRegister, StateUploading, Always},
		{StateInvalid, EventRegister, StatePending, NextAttempt},

		{StatePending, EventStart, StateUploading, Always},

		{StatePending, EventSeen, StateUploaded, IfNewObject},
		{StateUploading, EventSeen, StateUploaded, IfNewObject},
		{StateUploaded, EventSeen, StateUploaded, IfNewObject},
		{StateReady, EventSeen, StateUploaded, IfNewObject},
		{StateInvalid, EventSeen, StateUploaded, IfNewObject},

		{StatePending, EventExpire, StateInvalid, Always},
		{StateUploading, EventExpire, StateInvalid, Always},

		{StateUploaded, EventReady, StateReady, IfSameETag},
		{StateUploaded, EventInvalid, StateInvalid, IfSameETag},
		{StateUploaded, EventUnchecked, StateInvalid, IfSameETag},

		{StateInvalid, EventAccept, StateReady, IfDamaged},
		{StateInvalid, EventRecheck, StateUploaded, IfUnchecked},

		{StatePending, EventRemove, StateRemoved, Always},
		{StateUploading, EventRemove, StateRemoved, Always},
		{StateUploaded, EventRemove, StateRemoved, Always},
		{StateReady, EventRemove, StateRemoved, Always},
		{StateInvalid, EventRemove, StateRemoved, Always},
		{StateRemoved, EventUndo, StateRemoved, IfInTime},
	}
}

// FromStates lists the states out of which an event moves; the compare-and-set
// of that event takes it as its argument.
func FromStates(e Event) []State {
	var from []State
	for _, m := range Moves() {
		if m.Event == e && m.From != StateNone {
			from = append(from, m.From)
		}
	}
	return from
}

// Standing is the part of an image that decides its moves.
type Standing struct {
	State       State
	Attempt     int
	ETag        string // "" while nothing was seen
	Bucket      string // "" while undecided
	Damaged     bool   // see IfDamaged
	Unchecked   bool   // see IfUnchecked
	RemovedFrom State
	UndoOpen    bool // see IfInTime
}

// Occurrence is an event with what it speaks of.
type Occurrence struct {
	Event   Event
	Attempt int    // of the key, object or verdict; ignored by register, start, accept, remove, undo, recheck
	ETag    string // seen or judged
	Bucket  string // where it was seen
}

// Next says where an occurrence leads. ok is false when nothing moves.
func Next(s Standing, o Occurrence) (next Standing, ok bool) {
	for _, m := range Moves() {
		if m.From != s.State || m.Event != o.Event || !m.allows(s, o) {
			continue
		}
		return m.apply(s, o), true
	}
	return s, false
}

func (m Move) allows(s Standing, o Occurrence) bool {
	switch m.Event {
	case EventSeen, EventExpire, EventReady, EventInvalid, EventUnchecked:
		if o.Attempt != s.Attempt {
			return false
		}
	}
	switch m.Guard {
	case IfNewObject:
		return o.ETag != "" && o.ETag != s.ETag && (s.Bucket == "" || o.Bucket == s.Bucket)
	case IfSameETag:
		return o.ETag == s.ETag
	case IfDamaged:
		return s.Damaged
	case IfInTime:
		return s.UndoOpen
	case IfUnchecked:
		return s.Unchecked
	}
	return true
}

func (m Move) apply(s Standing, o Occurrence) Standing {
	n := s
	n.State = m.To
	switch {
	case m.Event == EventRemove:
		n.RemovedFrom = s.State
	case m.Event == EventUndo:
		n.State, n.RemovedFrom = s.RemovedFrom, ""
	case m.Event == EventSeen:
		n.ETag, n.Bucket = o.ETag, o.Bucket
	case m.Guard == NextAttempt:
		n.Attempt++
		n.ETag, n.Bucket = "", ""
	case m.From == StateNone:
		n.Attempt = 1
	}
	return n
}
