//go:build unix && !linux

package privatepg

import "syscall"

// diesWithParent can't be had here: a server that outlives a killed process is
// found by its pid file and stopped by the next Start.
func diesWithParent(*syscall.SysProcAttr, syscall.Signal) {}
