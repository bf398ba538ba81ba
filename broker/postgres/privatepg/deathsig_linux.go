package privatepg

import "syscall"

// diesWithParent makes the kernel send sig to the child when the thread that
// starts it ends (prctl(2), PR_SET_PDEATHSIG). Go asks for it after the change
// of user, which would clear it.
func diesWithParent(attr *syscall.SysProcAttr, sig syscall.Signal) {
	attr.Pdeathsig = sig
}
