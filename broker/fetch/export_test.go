package fetch

import (
	"crypto/tls"
	"crypto/x509"
	"net/http/httptest"
	"net/netip"
)

// Trust makes the client accept the certificate of a test's server.
func (c *Client) Trust(s *httptest.Server) {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	c.transport.TLSClientConfig = &tls.Config{RootCAs: pool}
}

// MayReach is the rule by which Reach dials for a caller.
func (c *Client) MayReach(own, addr netip.Addr) bool { return c.reachable(own)(addr) }
