//go:build !linux && !darwin

package client

func setNotsent(uintptr, int) {}
