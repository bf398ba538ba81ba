//go:build unix && !linux

package privatepg

import (
	"errors"
	"os/exec"
	"strconv"
	"strings"
)

// isPostmaster tells whether the process is a Postgres server on the folder pg.
// known is false when the system does not let us see.
func isPostmaster(pid int, pg string) (yes, known bool) {
	out, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return false, true // no such process
	}
	if err != nil {
		return false, false
	}
	command := string(out)
	if !strings.Contains(command, "postgres") && !strings.Contains(command, "postmaster") {
		return false, true
	}
	return strings.Contains(command, "-D "+pg+" "), true
}

// inUse can't be told here; Postgres itself refuses to start beside processes
// of a killed server.
func inUse(string) bool { return false }
