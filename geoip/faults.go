package geoip

import (
	"errors"
	"strings"

	"github.com/uploadbroker/uploadbroker/broker"
)

// faults gathers what is wrong with the options, so that an operator mends all
// of it in one go.
type faults struct{ all []error }

func (f *faults) add(err error) { f.all = append(f.all, err) }

// err is nil when there are none.
func (f *faults) err() error {
	if len(f.all) == 0 {
		return nil
	}
	lines := make([]string, len(f.all))
	var causes []error
	for i, err := range f.all {
		lines[i] = err.Error()
		var known *broker.Error
		if errors.As(err, &known) {
			lines[i] = known.Msg
			if known.Err != nil {
				causes = append(causes, known.Err)
			}
		}
	}
	return &broker.Error{Code: broker.CodeInvalid, Msg: strings.Join(lines, "; "), Err: errors.Join(causes...)}
}
