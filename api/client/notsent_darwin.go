package client

import "syscall"

// tcpNotsentLowat is TCP_NOTSENT_LOWAT of netinet/tcp.h, which package syscall
// lacks.
const tcpNotsentLowat = 0x201

func setNotsent(fd uintptr, bytes int) {
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotsentLowat, bytes) // without it progress is less exact
}
