package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"

	"github.com/mdp/qrterminal/v3"

	"github.com/uploadbroker/uploadbroker/broker"
)

// greet tells where the server is and what to do next. The key is shown this
// once: only its hash is kept.
func (a *app) greet(ctx context.Context, w io.Writer, addr net.Addr, boot broker.Bootstrapped, lan bool) error {
	here := a.config.PublicURL
	if here == "" {
		here = "http://" + reachable(addr)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nuploadbroker is ready at %s\n", here)
	if link, err := a.signInLink(ctx, here, boot); err != nil {
		return err
	} else if link != "" {
		fmt.Fprintf(&b, "  Sign in:  %s   (works once, for 15 minutes)\n", link)
	}
	fmt.Fprintf(&b, "  API docs: %s/docs/\n", here)

	server := ""
	if here != "http://127.0.0.1:8080" {
		server = " --server " + here
	}
	if boot.Secret != "" {
		fmt.Fprintf(&b, `
This is the key of %s. It is shown this once; keep it:

  %s

Upload a folder of photos:

  UPLOADBROKER_KEY=%s %s upload%s DIR --new demo
`, boot.Owner.Email, boot.Secret, boot.Secret, executable(), server)
	} else {
		fmt.Fprintf(&b, "\nA further key: %s keys create --owner owner@localhost%s\n", executable(), a.dataFlag())
	}
	if a.demo != nil {
		fmt.Fprintf(&b, "\nThe OSS emulator is at http://%s, its bucket is %s:\n\n  %s upload%s DIR --new demo --bucket %s\n",
			a.demo.listener.Addr(), demoSymbol, executable(), server, demoSymbol)
	}
	if lan {
		a.greetLAN(&b, addr)
	}
	fmt.Fprintln(&b, "\nCtrl-C ends it.")
	_, err := io.WriteString(w, b.String())
	return err
}

// signInLink makes a link for a bootstrap key that this start knows.
func (a *app) signInLink(ctx context.Context, here string, boot broker.Bootstrapped) (string, error) {
	keyID := boot.Key.ID
	if keyID == "" {
		id, err := a.bootstrapKey(ctx)
		if err != nil || id == "" {
			return "", err
		}
		keyID = id
	}
	code, err := a.keys.NewSignInCode(ctx, keyID)
	return here + "/sign-in#" + code, err
}

// bootstrapKey finds the live key that an earlier start made for its own owner.
func (a *app) bootstrapKey(ctx context.Context) (string, error) {
	owner, err := a.db.OwnerByEmail(ctx, broker.BootstrapEmail)
	if broker.CodeOf(err) == broker.CodeNotFound {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	keys, err := a.db.ListKeys(ctx, owner.ID)
	if err != nil {
		return "", err
	}
	for _, k := range keys {
		if k.Name == "bootstrap" && k.Live(a.keys.Now()) {
			return k.ID, nil
		}
	}
	return "", nil
}

// dataFlag is what a command beside this server needs to find its database. A
// database_url may hold a password and is not printed.
func (a *app) dataFlag() string {
	if a.config.file != "" {
		return " --config " + shellQuote(a.config.file)
	}
	if a.config.DatabaseURL != "" {
		return " --database-url …"
	}
	if a.config.DataDir == mustAbs(defaults().DataDir) {
		return ""
	}
	return " --data-dir " + shellQuote(a.config.DataDir)
}

// greetLAN lists the addresses by which others get here, each with a code to
// photograph.
func (a *app) greetLAN(b *strings.Builder, addr net.Addr) {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return
	}
	addrs := lanAddrs()
	if ip, err := netip.ParseAddr(host); err == nil && !ip.IsUnspecified() {
		addrs = []netip.Addr{ip}
	}
	if len(addrs) == 0 {
		fmt.Fprintln(b, "\nThis machine has no address in a LAN.")
		return
	}
	fmt.Fprintf(b, "\nFrom phones and other machines in the LAN, without a key: what anybody sends to the tag %s, anybody sees.\n  %s\n", lanTag, a.config.Tags.bound())
	for _, ip := range addrs {
		url := "http://" + net.JoinHostPort(ip.String(), port)
		page := url + "/tags/" + lanTag
		fmt.Fprintf(b, "\n  %s\n\n", page)
		qrterminal.GenerateWithConfig(page, qrterminal.Config{
			Level: qrterminal.L, Writer: indent{b}, HalfBlocks: true, QuietZone: 2,
			BlackChar: qrterminal.BLACK_BLACK, WhiteChar: qrterminal.WHITE_WHITE,
			BlackWhiteChar: qrterminal.BLACK_WHITE, WhiteBlackChar: qrterminal.WHITE_BLACK,
		})
		fmt.Fprintf(b, "\n  curl -T photo.jpg %s/upload/%s/\n", url, lanTag)
	}
}

// lanListen is an address that others in the LAN can reach: all of this machine's,
// unless the operator named one that is not the loopback.
func lanListen(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen // which is refused with words of its own
	}
	ip, err := netip.ParseAddr(host)
	if host == "" || host == "localhost" || err == nil && ip.IsLoopback() {
		return ":" + port
	}
	return listen
}

// lanAddrs are this machine's addresses, loopback and link-local left out.
func lanAddrs() []netip.Addr {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		out = append(out, p.Addr())
	}
	return out
}

// reachable is an address that a client on this machine can use: a server that
// listens everywhere is found on the loopback.
func reachable(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// indent moves every line two places in.
type indent struct{ b *strings.Builder }

func (i indent) Write(p []byte) (int, error) {
	for _, r := range string(p) {
		if s := i.b.String(); strings.HasSuffix(s, "\n") && r != '\n' {
			i.b.WriteString("  ")
		}
		i.b.WriteRune(r)
	}
	return len(p), nil
}
