//go:build openssl

package transport

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// These tests need the openssl command (3.0 or later) and run with `make test-openssl`. With -record they also write the flights
// that the ordinary tests replay.
var recordTo = flag.String("record", "", "write the recorded flights to this `file`")

type recordedFlight struct {
	Name, Flight, Secret, Finished string
	Suite                          uint16
}

var suites = map[string]uint16{
	"TLS_CHACHA20_POLY1305_SHA256": 0x1303,
	"TLS_AES_128_GCM_SHA256":       0x1301,
	"TLS_AES_256_GCM_SHA384":       0x1302,
}

func TestSessionIDWithOpenSSLBothWays(t *testing.T) {
	identity := newIdentity(t)
	dir := writePEM(t, identity)
	var recorded []recordedFlight
	for suite := range suites {
		for _, groups := range []string{"X25519", "X448:X25519"} {
			for _, certificate := range []bool{false, true} {
				name := fmt.Sprintf("openssl client, %s, %s, certificate %v", suite, groups, certificate)
				t.Run(name, func(t *testing.T) {
					r := opensslClient(t, identity, dir, suite, groups, certificate)
					r.Name, r.Suite = name, suites[suite]
					recorded = append(recorded, r)
				})
			}
		}
	}
	for suite := range suites {
		for _, groups := range []string{"X25519", "X448:X25519"} {
			name := fmt.Sprintf("openssl server, %s, %s", suite, groups)
			t.Run(name, func(t *testing.T) {
				r := opensslServer(t, identity, dir, suite, groups)
				r.Name, r.Suite = name, suites[suite]
				recorded = append(recorded, r)
			})
		}
	}
	if *recordTo != "" && !t.Failed() {
		out, _ := json.MarshalIndent(recorded, "", " ")
		if err := os.WriteFile(*recordTo, append(out, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func writePEM(t *testing.T, identity *Identity) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, blocks ...*pem.Block) {
		var b bytes.Buffer
		for _, block := range blocks {
			if err := pem.Encode(&b, block); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key, err := x509.MarshalPKCS8PrivateKey(identity.leaf)
	if err != nil {
		t.Fatal(err)
	}
	write("key.pem", &pem.Block{Type: "PRIVATE KEY", Bytes: key})
	write("leaf.pem", &pem.Block{Type: "CERTIFICATE", Bytes: identity.tls.Certificate[0]})
	write("ca.pem", &pem.Block{Type: "CERTIFICATE", Bytes: identity.tls.Certificate[1]})
	return dir
}

func opensslClient(t *testing.T, identity *Identity, dir, suite, groups string, certificate bool) recordedFlight {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	args := []string{"s_client", "-connect", listener.Addr().String(), "-alpn", "smp/1", "-noservername", "-tls1_3", "-msg",
		"-ciphersuites", suite, "-groups", groups}
	if certificate {
		args = append(args, "-cert", filepath.Join(dir, "leaf.pem"), "-key", filepath.Join(dir, "key.pem"), "-cert_chain", filepath.Join(dir, "ca.pem"))
	}
	finished := startOpenSSL(t, ">>>", args...)
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	recorder, secret := &flightRecorder{Conn: conn}, &trafficSecret{}
	config := serverTLSConfig(identity, secret)
	if certificate {
		config.ClientAuth = tls.RequestClientCert
	}
	return compareFinished(t, tls.Server(recorder, config), recorder, secret, finished)
}

func opensslServer(t *testing.T, identity *Identity, dir, suite, groups string) recordedFlight {
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := probe.Addr().String()
	probe.Close()
	finished := startOpenSSL(t, "<<<", "s_server", "-accept", address, "-alpn", "smp/1", "-tls1_3", "-msg", "-ciphersuites", suite, "-groups", groups,
		"-cert", filepath.Join(dir, "leaf.pem"), "-key", filepath.Join(dir, "key.pem"), "-cert_chain", filepath.Join(dir, "ca.pem"))
	var conn net.Conn
	for deadline := time.Now().Add(10 * time.Second); ; {
		if conn, err = net.Dial("tcp", address); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	recorder, secret := &flightRecorder{Conn: conn, client: true}, &trafficSecret{}
	return compareFinished(t, newTLSClient(recorder, secret, identity.Fingerprint()), recorder, secret, finished)
}

// startOpenSSL runs openssl and delivers the body of the Finished message that it prints with the given direction mark.
func startOpenSSL(t *testing.T, direction string, args ...string) <-chan string {
	t.Helper()
	cmd := exec.Command("openssl", args...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = io.Discard
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	found := make(chan string, 1)
	go func() {
		defer close(found)
		hexLine := regexp.MustCompile(`^    ([0-9a-f]{2} ?)+`)
		lines := bufio.NewScanner(stdout)
		inside, body := false, ""
		for lines.Scan() {
			line := lines.Text()
			switch {
			case strings.HasPrefix(line, direction) && strings.HasSuffix(line, "Finished"):
				inside, body = true, ""
			case inside && hexLine.MatchString(line):
				body += strings.Join(strings.Fields(line), "")
			case inside:
				found <- body[8:] // type and length in front
				inside = false
			}
		}
	}()
	return found
}

// compareFinished runs the handshake as finishTLS does, but keeps what was recorded.
func compareFinished(t *testing.T, conn *tls.Conn, recorder *flightRecorder, traffic *trafficSecret, finished <-chan string) recordedFlight {
	t.Helper()
	if err := conn.HandshakeContext(context.Background()); err != nil {
		t.Fatal(err)
	}
	flight, secret := recorder.stop(), traffic.take()
	id, err := clientFinished(flight, secret, conn.ConnectionState().CipherSuite)
	if err != nil {
		t.Fatal(err)
	}
	printed, ok := <-finished
	if !ok || printed != hex.EncodeToString(id) {
		t.Fatalf("session ID %x, openssl prints %q", id, printed)
	}
	return recordedFlight{Flight: hex.EncodeToString(flight), Secret: hex.EncodeToString(secret), Finished: printed}
}
