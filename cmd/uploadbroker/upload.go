package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uploadbroker/uploadbroker/api/client"
)

// uploadCmd brings a folder into a project.
type uploadCmd struct {
	Dir     string        `arg:"" help:"Folder to upload, with the folders below it; or one file."`
	Project string        `help:"Project to upload to: its id, the beginning of its id, or its exact name." placeholder:"P" short:"p" xor:"project"`
	New     string        `help:"Upload to your project of this name; make it if there is none." placeholder:"NAME" xor:"project"`
	Plan    bool          `help:"Only tell what would be sent; send nothing and make nothing."`
	All     bool          `help:"Send every file, not only those that look like images."`
	Jobs    int           `help:"Files to send at once." default:"8" placeholder:"N" short:"j"`
	Bucket  string        `help:"Bucket to upload to; the nearest if not given." placeholder:"SYMBOL"`
	Wait    time.Duration `help:"How long to wait for the next verdict before giving up on it." default:"10m" placeholder:"TIME"`

	Reconstruct bool `help:"Have a reconstruction begin as soon as all images are judged. It is recorded when all have been sent, and needs this program no more from then on."`

	remote
}

// Run does it. See exitError for the exit codes.
func (c *uploadCmd) Run(ctx context.Context, io stdio) error {
	if c.Jobs < 1 || c.Jobs > 256 {
		return &exitError{exitUsage, "--jobs is the number of files to send at once, 1 to 256"}
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.CloseIdleConnections()
	if c.Project == "" && c.New == "" && !c.tied(ctx, cl) {
		return &exitError{exitUsage, `say where to: --project P for a project that is there (its id, the beginning
of its id, or its name), or --new NAME for your project of that name, which is
made if there is none.`}
	}
	list, err := client.Scan(ctx, c.Dir, client.ScanOptions{All: c.All})
	if err != nil {
		if ctx.Err() != nil {
			return &exitError{exitInterrupted, "stopped."}
		}
		return &exitError{exitUsage, clean(err.Error())}
	}
	if len(list.Files)+len(list.Unread) == 0 {
		return &exitError{exitUsage, fmt.Sprintf("no images in %s%s", clean(c.Dir), leftOut(list.LeftOut))}
	}
	project, err := c.project(ctx, cl)
	if err != nil {
		return c.explain(err)
	}
	out, errs := screenOf(io.Out), screenOf(io.Err)
	c.headline(errs, cl, project, list)

	prog := &client.Progress{}
	opts := client.UploadOptions{Concurrency: c.Jobs, Bucket: c.Bucket, Progress: prog, VerdictWait: c.Wait}
	stop := watch(errs, prog, c.Plan)
	defer stop()
	if c.Plan {
		planned, err := cl.Plan(ctx, project.ID, list.Files, opts)
		stop()
		if err != nil {
			return c.explain(err)
		}
		err = showPlan(out, planned, list.Unread)
		if c.Reconstruct {
			fmt.Fprintln(out.w, "With --reconstruct, a reconstruction would begin as soon as all images are judged.")
		}
		return err
	}
	begin := c.reconstruction(ctx, cl, project.ID, prog, len(list.Unread) == 0)
	report, err := cl.Upload(ctx, project.ID, list.Files, opts)
	stop()
	report.Files = append(report.Files, list.Unread...)
	fmt.Fprintln(errs.w)
	showReport(out, report)
	begun := begin(report)
	verdict := c.verdict(report, err)
	return c.tell(io, begun, verdict)
}

// tied takes the project that the key is tied to, if it is. A server that can't
// be asked is no reason to hide what is missing on the command line.
func (c *uploadCmd) tied(ctx context.Context, cl *client.Client) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	me, err := cl.Me(ctx)
	if err != nil || me.Key.ProjectID == "" {
		return false
	}
	c.Project = me.Key.ProjectID
	return true
}

// project finds or makes the project. A plan makes none: its id is empty then.
func (c *uploadCmd) project(ctx context.Context, cl *client.Client) (client.Project, error) {
	switch {
	case c.New == "":
		return cl.FindProject(ctx, c.Project)
	case c.Plan:
		p, err := cl.LookupProjectNamed(ctx, c.New)
		var none *client.NoProjectError
		if errors.As(err, &none) {
			return client.Project{Name: c.New}, nil
		}
		return p, err
	}
	p, _, err := cl.ProjectNamed(ctx, c.New, "")
	return p, err
}

// headline says what is about to happen.
func (c *uploadCmd) headline(s *screen, cl *client.Client, p client.Project, list client.Listing) {
	id := p.ID
	if id == "" {
		id = "to be made"
	}
	fmt.Fprintf(s.w, "%s\n", s.plain(fmt.Sprintf("%s %s → %s %s on %s",
		files(len(list.Files), "file"), "in "+clean(c.Dir), s.paint(bold, clean(p.Name)), s.paint(dim, "("+clean(id)+")"), cl.Server())))
	if list.LeftOut > 0 {
		fmt.Fprintf(s.w, "%s\n", s.paint(dim, leftOutLine(list.LeftOut)))
	}
	if s.live {
		fmt.Fprintln(s.w)
	}
}

func leftOut(n int) string {
	if n == 0 {
		return "."
	}
	return "; " + leftOutLine(n)
}

func leftOutLine(n int) string {
	looks := "does not look like an image"
	if n > 1 {
		looks = "do not look like images"
	}
	return fmt.Sprintf("%s %s and would be sent with --all only.", files(n, "other file"), looks)
}

// verdict is how the command ends.
func (c *uploadCmd) verdict(r client.Report, err error) error {
	again := "Run the same command again to go on; what is there is not sent again."
	switch {
	case errors.Is(err, context.Canceled):
		return &exitError{exitInterrupted, "Stopped. " + again}
	case err != nil:
		var e *exitError
		errors.As(c.explain(err), &e)
		return &exitError{exitUsage, e.msg + "\n" + again}
	case r.Ready() < len(r.Files):
		return &exitError{code: exitNotReady}
	}
	return nil
}
