package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/uploadbroker/uploadbroker/api/client"
)

type tasksCmd struct {
	List  tasksListCmd  `cmd:"" help:"Reconstructions, newest first."`
	Watch tasksWatchCmd `cmd:"" help:"Follow one to its end."`
	Stop  tasksStopCmd  `cmd:"" help:"Stop one, or take back one that waits."`
}

type tasksListCmd struct {
	Project string `help:"Only of this project: its id, the beginning of its id, or its exact name." placeholder:"P" short:"p"`
	Limit   int    `help:"The most to list." default:"50" placeholder:"N"`

	remote
}

// Run lists them.
func (c *tasksListCmd) Run(ctx context.Context, io stdio) error {
	if c.Limit < 1 {
		return &exitError{exitUsage, "--limit is how many to list, 1 or more"}
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.CloseIdleConnections()
	list := func(page client.Page) (client.TaskPage, error) { return cl.Tasks(ctx, "", page) }
	if c.Project != "" {
		p, err := cl.FindProject(ctx, c.Project)
		if err != nil {
			return c.explainTask(err)
		}
		list = func(page client.Page) (client.TaskPage, error) { return cl.ProjectTasks(ctx, p.ID, page) }
	}
	var tasks []client.Task
	page := client.Page{}
	for {
		page.Limit = min(c.Limit-len(tasks), 1000)
		got, err := list(page)
		if err != nil {
			return c.explainTask(err)
		}
		tasks = append(tasks, got.Tasks...)
		if page.Cursor = got.NextCursor; page.Cursor == "" || len(tasks) >= c.Limit {
			break
		}
	}
	out := screenOf(io.Out)
	if len(tasks) == 0 {
		fmt.Fprintln(io.Err, "No reconstructions yet. `uploadbroker upload DIR --new NAME --reconstruct` begins one.")
		return nil
	}
	rows := [][]string{{"ID", "STATE", "PROGRESS", "TYPE", "IMAGES", "PROJECT", "CREATED", "NOTE"}}
	for _, t := range tasks {
		rows = append(rows, []string{
			clean(t.ID), clean(t.State), percent(t), clean(t.Type), count(t.Images), clean(t.ProjectID),
			t.CreatedAt.Local().Format("2006-01-02 15:04"), taskNote(t),
		})
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], columns(cell))
		}
	}
	for n, row := range rows {
		line := ""
		for i, cell := range row {
			w := widths[i]
			if i == 2 || i == 4 { // numbers
				w = -w
			}
			cell = pad(cell, w)
			if i == 1 && n > 0 {
				cell = out.paint(taskColor(tasks[n-1]), cell)
			}
			line += cell + "  "
		}
		fmt.Fprintln(io.Out, out.plain(strings.TrimRight(line, " ")))
	}
	if page.Cursor != "" {
		fmt.Fprintf(io.Err, "There are more; --limit %d lists twice as many.\n", 2*c.Limit)
	}
	return nil
}

// percent is how far a task is.
func percent(t client.Task) string {
	if t.State == client.TaskPending {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", t.Progress)
}

// taskNote says in a few words what is to be said of a task.
func taskNote(t client.Task) string {
	switch {
	case t.State == client.TaskFailed && t.Fault != nil:
		return clean(strings.TrimSuffix(t.Fault.Name+": "+t.Cause, ": "))
	case t.Cause != "":
		return clean(t.Cause)
	case t.State == client.TaskDone:
		var names []string
		for _, r := range t.Results {
			names = append(names, clean(r.Name)+" ("+size(r.Size)+")")
		}
		return strings.Join(names, ", ")
	case t.State == client.TaskPending:
		return "waits for verdicts"
	}
	return clean(t.Stage)
}

func taskColor(t client.Task) string {
	switch t.State {
	case client.TaskDone:
		return green
	case client.TaskFailed:
		return red
	case client.TaskStopped:
		return yellow
	}
	return cyan
}

// oneTask names a task on the command line.
type oneTask struct {
	ID      string `arg:"" optional:"" help:"The task's id, or the beginning of it."`
	Project string `help:"The newest of this project: its id, the beginning of its id, or its exact name." placeholder:"P" short:"p"`

	remote
}

// find finds it.
func (c *oneTask) find(ctx context.Context, cl *client.Client) (client.Task, error) {
	if (c.ID == "") == (c.Project == "") {
		return client.Task{}, &exitError{exitUsage, "say which: its id, or --project P for the newest of a project"}
	}
	if c.ID != "" {
		t, err := cl.FindTask(ctx, c.ID)
		return t, c.explainTask(err)
	}
	p, err := cl.FindProject(ctx, c.Project)
	if err != nil {
		return client.Task{}, c.explainTask(err)
	}
	page, err := cl.ProjectTasks(ctx, p.ID, client.Page{Limit: 1})
	switch {
	case err != nil:
		return client.Task{}, c.explainTask(err)
	case len(page.Tasks) == 0:
		return client.Task{}, &exitError{exitUsage, fmt.Sprintf("the project %s has no reconstruction", clean(p.Name))}
	}
	return page.Tasks[0], nil
}

// explainTask is explain without the advice to make a project.
func (r remote) explainTask(err error) error {
	var none *client.NoProjectError
	var noTask *client.NoTaskError
	var many *client.AmbiguousTaskError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &none), errors.As(err, &noTask), errors.As(err, &many):
		return &exitError{exitUsage, strings.Join(cleanLines(err.Error()), "\n")}
	}
	return r.explain(err)
}

// cleanLines is clean for a text of several lines.
func cleanLines(s string) []string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return lines
}

// watchTaskEvery is how often a task is asked for.
const watchTaskEvery = 2 * time.Second

type tasksWatchCmd struct {
	oneTask
}

// Run follows it to its end: exit code 0 when it is Done, 1 when it Failed or was
// Stopped.
func (c *tasksWatchCmd) Run(ctx context.Context, io stdio) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.CloseIdleConnections()
	t, err := c.find(ctx, cl)
	if err != nil {
		return err
	}
	return c.watch(ctx, cl, io, t)
}

// watch prints a line whenever something changed.
func (r remote) watch(ctx context.Context, cl *client.Client, io stdio, t client.Task) error {
	out := screenOf(io.Out)
	shown := ""
	for {
		if line := taskLine(t); line != shown {
			shown = line
			fmt.Fprintln(io.Out, out.paint(taskColor(t), out.plain(line)))
		}
		if t.Ended() {
			break
		}
		select {
		case <-ctx.Done():
			return &exitError{exitInterrupted, "stopped watching; the reconstruction goes on. To stop it: uploadbroker tasks stop " + clean(t.ID)}
		case <-time.After(watchTaskEvery):
		}
		next, err := cl.Task(ctx, t.ID)
		switch {
		case err != nil && ctx.Err() != nil:
			continue
		case err != nil:
			return r.explainTask(err)
		}
		t = next
	}
	if t.State != client.TaskDone {
		return &exitError{code: exitNotReady}
	}
	for _, result := range t.Results {
		fmt.Fprintf(io.Out, "%s  %s  %s\n", clean(result.Name), size(result.Size), clean(result.URL))
	}
	return nil
}

// taskLine is a task on one line.
func taskLine(t client.Task) string {
	line := clean(t.ID) + "  " + clean(t.State)
	switch {
	case t.State == client.TaskProcessing:
		line += fmt.Sprintf("  %s  %s of %s", percent(t), clean(t.Stage), files(t.Images, "image"))
	case t.State == client.TaskDone && t.StartedAt != nil && t.EndedAt != nil:
		line += fmt.Sprintf("  %s in %s", files(t.Images, "image"), took(t.EndedAt.Sub(*t.StartedAt)))
	default:
		if note := taskNote(t); note != "" {
			line += "  " + note
		}
	}
	return line
}

type tasksStopCmd struct {
	oneTask
}

// Run stops it. One that has ended already is no error: it does not run.
func (c *tasksStopCmd) Run(ctx context.Context, io stdio) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.CloseIdleConnections()
	t, err := c.find(ctx, cl)
	if err != nil {
		return err
	}
	if t, err = cl.StopTask(ctx, t.ID); err != nil {
		return c.explainTask(err)
	}
	fmt.Fprintln(io.Out, taskLine(t))
	return nil
}
