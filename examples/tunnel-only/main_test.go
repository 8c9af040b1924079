package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/tunnel"
)

const (
	patience = time.Minute
	lifetime = 10 * time.Second // all of the session has to fit, on a machine that has much else to do
)

// TestSession builds and runs the program, gives it a grant and reaches a service
// of its machine through it, until the session's lifetime is over.
func TestSession(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	exe := filepath.Join(t.TempDir(), "tunnel-only")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}

	// Control, as far as a grant needs one.
	root, err := keys.OpenIdentity(keys.NewMemory(), "root")
	if err != nil {
		t.Fatal(err)
	}
	online, err := keys.OpenIdentity(keys.NewMemory(), "online")
	if err != nil {
		t.Fatal(err)
	}
	record, err := keys.SignRecord(root, keys.Record{ID: "online", Key: online.Key(), Scope: []string{keys.TypeGrant}, Epoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	signer, err := keys.NewSigner(online, record)
	if err != nil {
		t.Fatal(err)
	}

	cmd := exec.CommandContext(ctx, exe, root.Key().String())
	cmd.Dir = t.TempDir()
	var log bytes.Buffer
	cmd.Stderr = &log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	next := func() string {
		if !lines.Scan() {
			t.Fatalf("the program ended: %v", lines.Err())
		}
		return lines.Text()
	}
	identity, err := keys.ParseIdentityKey(next())
	if err != nil {
		t.Fatal(err)
	}
	batch, err := keys.VerifyPrekeys([]byte(next()), "", "press-7", identity)
	if err != nil {
		t.Fatal(err)
	}

	// The service that the engineer wants.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "no paper")
			_ = c.Close()
		}
	}()
	port := uint16(l.Addr().(*net.TCPAddr).Port)

	// The far end, in the place of a node.
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	device, operator := netip.MustParseAddr("10.166.0.5"), netip.MustParseAddr("10.166.255.9")
	proof := netip.MustParseAddr("10.166.255.1")
	key := keys.NewPrivateKey()
	far, err := tunnel.Up(ctx, &tunnel.Config{
		Role: tunnel.Operator, Key: key, Addresses: []netip.Addr{operator, proof}, Socket: udp, Mode: tunnel.Driverless,
		Far: tunnel.Peer{Key: batch.Keys[0], Allowed: []netip.Addr{device}, Proof: device},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()

	token, err := (&keys.Grant{
		Session: "s1", Rev: 1, Device: "press-7", Boot: batch.Boot, Prekey: batch.Keys[0], Addresses: []netip.Addr{device},
		Far: keys.FarEnd{Node: "test", Key: key.Public(), Proof: proof,
			Endpoints: []netip.AddrPort{udp.LocalAddr().(*net.UDPAddr).AddrPort()}},
		Operators: []keys.Operator{{ID: "o1", Key: keys.NewPrivateKey().Public(), Address: operator, Ports: []keys.Port{keys.TCP(port)}}},
		Lifetime:  lifetime, End: time.Now().Add(time.Hour),
	}).Sign(signer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stdin.Write(token); err != nil {
		t.Fatal(err)
	}
	_ = stdin.Close()

	c, err := far.Dial(ctx, "tcp", netip.AddrPortFrom(device, port).String())
	if err != nil {
		t.Fatalf("%v; %s", err, log.String())
	}
	defer c.Close()
	if got, err := io.ReadAll(c); err != nil || string(got) != "no paper" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the program ended with %v", err)
	}
	if !strings.Contains(log.String(), "reached at [10.166.0.5]") {
		t.Errorf("it said %q", log.String())
	}
}

// TestLinks checks what a program that needs the tunnel alone is spared.
func TestLinks(t *testing.T) {
	exe := filepath.Join(t.TempDir(), "tunnel-only")
	if out, err := exec.Command("go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	symbols, err := exec.Command("go", "tool", "nm", exe).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"net/http.(*Server)", "net/http.(*Client)", "modernc.org/", "paho", "mochi"} {
		if bytes.Contains(symbols, []byte(bad)) {
			t.Errorf("it links %s", bad)
		}
	}
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(source, []byte("\n")); n >= 100 {
		t.Errorf("the program has %d lines", n)
	}
}
