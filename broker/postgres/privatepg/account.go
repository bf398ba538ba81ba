package privatepg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
	"time"
)

// account is the user that the server runs as.
type account struct {
	name     string
	uid, gid uint32
	switched bool // not this process's own user
}

// pickAccount answers who runs the server of the folder pg. Postgres demands
// that the folder's owner does; a folder that is still to be made belongs to
// this process's user, or as root to one of the machine's unprivileged users.
func pickAccount(pg string) (account, error) {
	self := uint32(os.Geteuid())
	owner, exists, err := ownerOf(pg)
	if err != nil {
		return account{}, err
	}
	if self != 0 {
		if exists && owner.uid != self {
			return account{}, fmt.Errorf("the database in %s belongs to the user %s: run uploadbroker as that user or as root, or give it another data folder", pg, owner.name)
		}
		return account{name: userName(self), uid: self, gid: uint32(os.Getegid())}, nil
	}
	if exists && owner.uid == 0 {
		return account{}, fmt.Errorf("the database in %s belongs to root, as whom Postgres refuses to run: give the folder and all in it to the user who shall run it (chown -R postgres)", pg)
	}
	if exists {
		owner.switched = true
		return owner, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		if a, err := lookUp(name); err == nil && a.uid != 0 {
			a.switched = true
			return a, nil
		}
	}
	return account{}, errors.New("the private Postgres refuses to run as root, and this machine has neither a user postgres nor nobody: add one (useradd --system postgres), run uploadbroker as an ordinary user, or set database_url")
}

// ownerOf does not follow a symbolic link: it would say who owns some other
// folder. An empty folder, as a volume's mount point is, has no owner yet.
func ownerOf(path string) (a account, exists bool, err error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return account{}, false, nil
	}
	if err != nil {
		return account{}, false, fmt.Errorf("look at the database's folder: %w", err)
	}
	if !info.IsDir() {
		return account{}, false, fmt.Errorf("%s is not a folder: move it away; to keep the database elsewhere, write its folder's path into the file %s beside it", path, noteName)
	}
	if empty, err := isEmpty(path); err == nil && empty {
		return account{}, false, nil
	}
	st := info.Sys().(*syscall.Stat_t)
	a = account{name: userName(st.Uid), uid: st.Uid, gid: st.Gid}
	if known, err := lookUp(a.name); err == nil {
		a.gid = known.gid
	}
	return a, true, nil
}

func lookUp(name string) (account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return account{}, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return account{}, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return account{}, err
	}
	return account{name: name, uid: uint32(uid), gid: uint32(gid)}, nil
}

// userName is for messages: the number where there is no name.
func userName(uid uint32) string {
	number := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return number
}

// attributes put a child under the account, with no group but its own, and
// into a process group of its own: Ctrl-C in a terminal goes to the whole
// group in front, and it is for this program to stop the server in order.
func (a account) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if a.switched {
		attr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	}
	return attr
}

// reaches tells whether the account can enter dir. It tries: mode bits would
// not tell of access lists, of security modules, of network file systems.
func (a account) reaches(ctx context.Context, in install, dir string) (bool, error) {
	try := func(dir string) error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, in.postgres(), "--version")
		cmd.Dir = dir // entered after the change of user
		cmd.Env = environment()
		cmd.SysProcAttr = a.attributes()
		return cmd.Run()
	}
	if err := try("/"); err != nil {
		return false, fmt.Errorf("%s can't be run as the user %s: %w", in.postgres(), a.name, err)
	}
	err := try(dir)
	return err == nil, ctx.Err()
}
