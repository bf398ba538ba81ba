package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"testing"
	"time"
)

func TestWrapKeepsTheInnermostCode(t *testing.T) {
	inner := &Error{Code: CodeDenied, Msg: "the bucket refused", RetryAfter: time.Second, Err: io.ErrUnexpectedEOF}
	err := Wrap(fmt.Errorf("stat: %w", Wrap(inner, CodeUnavailable, "try later")), CodeInternal, "oh")
	if CodeOf(err) != CodeDenied {
		t.Errorf("CodeOf = %s", CodeOf(err))
	}
	var known *Error
	if !errors.As(err, &known) || known != inner {
		t.Errorf("As finds %+v", known)
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("the cause is lost")
	}
	if Wrap(nil, CodeInternal, "x") != nil {
		t.Error("Wrap makes an error of nil")
	}

	err = Wrap(context.DeadlineExceeded, CodeUnavailable, "the database does not answer")
	if CodeOf(err) != CodeUnavailable || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wrap = %v", err)
	}
	if got, want := err.Error(), "unavailable: the database does not answer: context deadline exceeded"; got != want {
		t.Errorf("Error = %q, want %q", got, want)
	}
}

func TestCodeOf(t *testing.T) {
	joined := errors.Join(io.EOF, Errorf(CodeConflict, "taken"), Errorf(CodeDenied, "no"))
	for _, c := range []struct {
		err  error
		want Code
	}{
		{nil, ""},
		{io.EOF, CodeInternal},
		{Errorf(CodeNotFound, "no %s", "image"), CodeNotFound},
		{fmt.Errorf("a: %w", fmt.Errorf("b: %w", Errorf(CodeTooLarge, ""))), CodeTooLarge},
		{joined, CodeConflict},
	} {
		if got := CodeOf(c.err); got != c.want {
			t.Errorf("CodeOf(%v) = %q, want %q", c.err, got, c.want)
		}
	}
}

func TestCodesAreStable(t *testing.T) {
	form := regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	all := AllCodes()
	for i, c := range all {
		if !form.MatchString(string(c)) {
			t.Errorf("%q is not a code's form", c)
		}
		if slices.Contains(all[:i], c) {
			t.Errorf("%q is listed twice", c)
		}
	}
	// Clients switch on these: adding one is fine, changing one breaks them.
	for _, c := range []Code{
		"internal", "unavailable", "unauthenticated", "not_allowed", "not_found", "invalid", "invalid_name", "invalid_sha1",
		"invalid_size", "invalid_type", "too_large", "batch_too_large", "conflict", "unknown_bucket", "no_bucket", "undo_ended",
		"too_many_requests", "denied", "changed", "not_supported",
	} {
		if !slices.Contains(all, c) {
			t.Errorf("%q is gone", c)
		}
	}
}

func TestReasonsTravel(t *testing.T) {
	for _, code := range AllReasons() {
		for _, detail := range []string{"", "the scan ends after 1,204 of 2,250 rows", "a: b: c", ": ", " leading", "é\n"} {
			r := Reason{Code: code, Detail: detail}
			if got := ParseReason(r.String()); got != r {
				t.Errorf("%+v came back as %+v", r, got)
			}
		}
	}
	if got := Reasonf(ReasonTruncated, "%d of %d rows", 1, 2).String(); got != "truncated: 1 of 2 rows" {
		t.Errorf("a reason is told as %q", got)
	}
	want := []ReasonCode{
		"expired", "empty", "size_mismatch", "checksum_mismatch", "truncated", "corrupt", "unsupported_format",
		"too_many_pixels", "too_large", "unchecked",
	}
	if !slices.Equal(AllReasons(), want) {
		t.Errorf("the reasons are %q", AllReasons())
	}
}
