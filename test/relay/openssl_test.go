//go:build openssl

package relay_test

import (
	"bufio"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
)

// pipeConn is the connection that an openssl process holds.
type pipeConn struct {
	net.Conn // never used
	io.Writer
}

func (p pipeConn) Write(b []byte) (int, error) { return p.Writer.Write(b) }

// TestOpenSSLSession speaks through an openssl client that is as strict as public ones: X448 offered first, signatures of
// Ed448 or Ed25519 only, one cipher suite.
func TestOpenSSLSession(t *testing.T) {
	r := startRelay(t, nil)
	common := []string{"s_client", "-connect", r.address, "-alpn", "smp/1", "-groups", "X448:X25519", "-sigalgs", "ed448:ed25519",
		"-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256", "-tls1_3", "-noservername"}

	// The leaf certificate, from a first connection.
	show := exec.Command("openssl", append(common, "-showcerts")...)
	shown, err := show.Output()
	must(t, err)
	block, _ := pem.Decode(shown[strings.Index(string(shown), "-----BEGIN"):])
	certificate, err := x509.ParseCertificate(block.Bytes)
	must(t, err)

	cmd := exec.Command("openssl", append(common, "-quiet", "-verify_quiet")...)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	c := &client{t: t, conn: pipeConn{Writer: in}, reader: bufio.NewReader(out), version: 9}
	c.readHello(r.fingerprint, certificate.PublicKey.(ed25519.PublicKey))
	c.writeHello(r.fingerprint, hello{version: 9})
	sender := newKey(t, "X25519")
	q := c.create(newKey(t, "Ed448"), "S")
	c.want("OK", sender.sign, q.sender, "SKEY "+sender.public)
	largest := strings.Repeat("m", largestBody(9))
	c.send(sender.sign, "send", q.sender, "SEND F "+largest)
	id := q.wantMessage(t, c.event(q.recipient), "F", largest)
	if got := c.read(); got.body != "OK" {
		t.Fatalf("answer is %v", got)
	}
	c.want("OK", q.sign, q.recipient, ack(id))
}
