package fetch_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// nameServer answers questions for addresses over UDP (RFC 1035), so that a test
// decides where a name leads, each time anew.
type nameServer struct {
	conn *net.UDPConn

	mu      sync.Mutex
	answers map[string][][]string // of a name: the answers in turn; the last one stays
	asked   map[string]int        // how often a name's IPv4 addresses were asked for
}

const (
	typeA    = 1
	typeAAAA = 28
)

func newNameServer(t *testing.T, answers map[string][][]string) *nameServer {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{conn: conn, answers: answers, asked: map[string]int{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serve()
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return s
}

// resolver asks this server alone.
func (s *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp4", s.conn.LocalAddr().String())
	}}
}

func (s *nameServer) count(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[name]
}

func (s *nameServer) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if reply := s.reply(buf[:n]); reply != nil {
			_, _ = s.conn.WriteToUDPAddrPort(reply, from)
		}
	}
}

// reply answers a message with one question.
func (s *nameServer) reply(query []byte) []byte {
	const header = 12
	if len(query) < header {
		return nil
	}
	var labels []string
	at := header
	for at < len(query) && query[at] != 0 {
		end := at + 1 + int(query[at])
		if end > len(query) {
			return nil
		}
		labels = append(labels, string(query[at+1:end]))
		at = end
	}
	if at+5 > len(query) {
		return nil
	}
	name, kind := strings.ToLower(strings.Join(labels, ".")), binary.BigEndian.Uint16(query[at+1:])
	addrs, known := s.take(name, kind)

	out := append([]byte(nil), query[:2]...)
	flags := uint16(0x8180) // an answer, recursion available
	if !known {
		flags |= 3 // no such name
	}
	out = binary.BigEndian.AppendUint16(out, flags)
	out = binary.BigEndian.AppendUint16(out, 1)
	out = binary.BigEndian.AppendUint16(out, uint16(len(addrs)))
	out = append(out, 0, 0, 0, 0)
	out = append(out, query[header:at+5]...)
	for _, addr := range addrs {
		out = append(out, 0xc0, header) // the name, as in the question
		out = binary.BigEndian.AppendUint16(out, kind)
		out = append(out, 0, 1, 0, 0, 0, 0) // class IN, to be kept for 0 s
		raw := addr.AsSlice()
		out = binary.BigEndian.AppendUint16(out, uint16(len(raw)))
		out = append(out, raw...)
	}
	return out
}

// take returns a name's addresses of one family.
func (s *nameServer) take(name string, kind uint16) (addrs []netip.Addr, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	turns, known := s.answers[name]
	if !known {
		return nil, false
	}
	turn := turns[min(s.asked[name], len(turns)-1)]
	if kind == typeA {
		s.asked[name]++
	}
	for _, text := range turn {
		addr := netip.MustParseAddr(text)
		if kind == typeA && addr.Is4() || kind == typeAAAA && addr.Is6() {
			addrs = append(addrs, addr)
		}
	}
	return addrs, true
}
