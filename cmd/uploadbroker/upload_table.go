package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/uploadbroker/uploadbroker/api/client"
)

// fewFiles is up to how many files each has a line of its own; of more, only
// those that need attention have.
const fewFiles = 24

// tableRow is one file in a table of results.
type tableRow struct {
	state, name, size, note string
	color                   string
}

// showTable prints rows below each other. On a terminal long names are cut and
// notes wrapped; elsewhere everything stands whole on one line.
func showTable(s *screen, rows []tableRow) {
	if len(rows) == 0 {
		return
	}
	head := tableRow{state: "STATE", name: "NAME", size: "SIZE", note: "NOTE"}
	var state, name, sz, note int
	for _, r := range append(rows, head) {
		state, name, sz = max(state, columns(r.state)), max(name, columns(r.name)), max(sz, columns(r.size))
	}
	for _, r := range rows {
		note = max(note, columns(r.note))
	}
	if note == 0 {
		head.note = ""
	}
	if cols, _ := s.size(); cols > 0 {
		rest := cols - 1 - state - sz - 6
		note = min(note, max(rest/2, rest-name, 20))
		name = min(name, max(rest-note, 12))
	}
	indent := strings.Repeat(" ", state+2+name+2+sz+2)
	print := func(r tableRow, paint string) {
		line := s.paint(r.color, pad(r.state, state)) + "  " + pad(cut(r.name, name), name) + "  " + pad(r.size, -sz)
		notes := wrap(r.note, note)
		if notes[0] != "" {
			line += "  " + notes[0]
		}
		fmt.Fprintln(s.w, s.paint(paint, s.plain(strings.TrimRight(line, " "))))
		for _, more := range notes[1:] {
			fmt.Fprintln(s.w, indent+s.plain(more))
		}
	}
	print(head, dim)
	for _, r := range rows {
		print(r, "")
	}
}

// showReport prints what became of the files and a line that sums it up.
func showReport(s *screen, r client.Report) {
	var rows []tableRow
	ready := 0
	for _, f := range r.Files {
		if f.Ready() {
			if ready++; len(r.Files) > fewFiles {
				continue
			}
		}
		if errors.Is(f.Err, client.ErrStopped) && len(r.Files) > fewFiles {
			continue // the sum tells
		}
		rows = append(rows, reportRow(f))
	}
	showTable(s, rows)
	if len(rows) > 0 {
		if hidden := len(r.Files) - len(rows); hidden > 0 {
			fmt.Fprintln(s.w, s.paint(dim, s.plain(fmt.Sprintf("… and %s more", count(hidden)))))
		}
		fmt.Fprintln(s.w)
	}
	fmt.Fprintln(s.w, summary(s, r))
}

func reportRow(f client.FileReport) tableRow {
	row := tableRow{state: f.State, name: clean(f.Name), size: size(f.SizeBytes), color: yellow}
	switch {
	case f.Ready():
		row.color = green
		switch {
		case f.SameAs != "":
			row.note = "same as " + clean(f.SameAs)
		case f.Existed:
			row.note = "was there already"
		}
		return row
	case errors.Is(f.Err, client.ErrStopped):
		row.state, row.note = "-", "not finished"
		if f.State == client.StateUploaded {
			row.state, row.note = f.State, "sent, not judged yet"
		}
	case errors.Is(f.Err, client.ErrUnjudged):
		row.note = f.Err.Error()
	case f.Err != nil:
		row.state, row.note, row.color = "Failed", clean(f.Err.Error()), red
		if f.SHA1 == "" {
			row.size = "-"
		}
	default:
		row.note, row.color = clean(strings.Join(f.Reasons, "; ")), red
		if f.SameAs != "" {
			row.note += " (same as " + clean(f.SameAs) + ")"
		}
	}
	return row
}

// summary is the line that scripts and people look for.
func summary(s *screen, r client.Report) string {
	ready, unjudged, unfinished := r.Ready(), 0, 0
	for _, f := range r.Files {
		switch {
		case !errors.Is(f.Err, client.ErrStopped):
		case f.State == client.StateUploaded:
			unjudged++
		default:
			unfinished++
		}
	}
	bad := len(r.Files) - ready - unjudged - unfinished
	notColor := ""
	if bad > 0 {
		notColor = red
	}
	out := s.paint(green, count(ready)+" Ready") + ", " + s.paint(notColor, count(bad)+" not")
	if unjudged > 0 {
		out += ", " + s.paint(yellow, count(unjudged)+" not judged yet")
	}
	if unfinished > 0 {
		out += ", " + s.paint(yellow, count(unfinished)+" not finished")
	}
	out += "; " + size(r.BytesSent) + " sent"
	if r.BytesSent > 0 {
		out += " in " + took(r.SendingTime)
		if sec := r.SendingTime.Seconds(); sec > 0.001 {
			out += fmt.Sprintf(" (%s/s)", size(int64(float64(r.BytesSent)/sec)))
		}
	}
	verb := "were"
	if r.Existed() == 1 {
		verb = "was"
	}
	return out + fmt.Sprintf(", %s %s there already", count(r.Existed()), verb)
}

// showPlan prints what an upload would do.
func showPlan(s *screen, planned []client.PlannedFile, unread []client.FileReport) error {
	var rows []tableRow
	var send, there, same, failed int
	var bytes int64
	for _, f := range planned {
		row := tableRow{name: clean(f.Name), size: size(f.SizeBytes)}
		switch {
		case f.Err != nil:
			failed++
			row.state, row.note, row.color = "failed", clean(f.Err.Error()), red
		case f.Send():
			send++
			bytes += f.SizeBytes
			row.state, row.color = "to send", cyan
			switch f.Status {
			case client.StatusOpen:
				row.note = "was begun, never finished"
			case client.StatusInvalid:
				row.note = "refused the last time"
				if f.Image != nil && len(f.Image.Reasons) > 0 {
					row.note += ": " + clean(strings.Join(f.Image.Reasons, "; "))
				}
			}
		case f.SameAs != "":
			same++
			row.state, row.note, row.color = "same", "same as "+clean(f.SameAs), dim
		default:
			there++
			row.state, row.color = "there", green
			if f.Image != nil && f.Image.State != client.StateReady {
				row.note = "not judged yet"
			}
		}
		if len(planned) <= fewFiles || f.Err != nil {
			rows = append(rows, row)
		}
	}
	for _, f := range unread {
		failed++
		rows = append(rows, tableRow{state: "failed", name: clean(f.Name), size: "-", note: clean(f.Err.Error()), color: red})
	}
	showTable(s, rows)
	if len(rows) > 0 {
		fmt.Fprintln(s.w)
	}
	line := fmt.Sprintf("%s to send (%s), %s there already", count(send), size(bytes), count(there))
	if same > 0 {
		line += fmt.Sprintf(", %s the same as others", count(same))
	}
	if failed > 0 {
		line += fmt.Sprintf(", %s can't be sent", count(failed))
	}
	fmt.Fprintln(s.w, line+". This was a plan: nothing was sent.")
	if failed > 0 {
		return &exitError{code: exitNotReady}
	}
	return nil
}
