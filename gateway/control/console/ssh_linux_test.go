package console

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/boothwire/boothwire/gateway/control/console/internal/consoletest"
	"github.com/boothwire/boothwire/internal/browsertest"
	"github.com/boothwire/boothwire/internal/netlab"
	"github.com/boothwire/boothwire/keys"
)

// sshd is OpenSSH's server on a loopback port, for the test's own user and one key.
type sshd struct {
	at, user, key string // key is the private one, as its owner has it
	hostKey       [32]byte
}

// writeKey makes a key pair and writes its private half.
func writeKey(t *testing.T, path string) ssh.PublicKey {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err == nil {
		err = os.WriteFile(path, pem.EncodeToMemory(block), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func startSSHD(t *testing.T) *sshd {
	t.Helper()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	s := &sshd{at: fmt.Sprintf("127.0.0.1:%d", freePort(t)), hostKey: sha256.Sum256(writeKey(t, in("host")).Marshal())}
	if err := os.WriteFile(in("authorized"), ssh.MarshalAuthorizedKey(writeKey(t, in("key"))), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(in("key"))
	if err != nil {
		t.Fatal(err)
	}
	s.key = string(text)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s.user = me.Username
	config := fmt.Sprintf(`ListenAddress %s
HostKey %s
AuthorizedKeysFile %s
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
PrintMotd no
AcceptEnv LANG
Subsystem sftp internal-sftp
`, s.at, in("host"), in("authorized"))
	if err := os.WriteFile(in("config"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = os.MkdirAll("/run/sshd", 0o755) // as root it wants that, and nothing else needs it
	cmd := exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", in("config"))
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", s.at); err == nil {
			c.Close()
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("sshd does not listen: %s", said.String())
		}
	}
}

// TestSSHInBrowser works on a device with Terminal and Files, against OpenSSH.
func TestSSHInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("short: a browser and an SSH server")
	}
	netlab.Require(t, "node", "chromium", "sshd")
	browsertest.Tools(t)
	if !hasEngine("xterm/xterm.js") {
		netlab.Missing(t, "this test needs the console's engines built in (make assets)")
	}
	t.Parallel() // it mostly waits
	server := startSSHD(t)
	w := consoletest.New(t, nil)
	w.SSH = server.hostKey
	w.Device("kiosk-1", "north", map[keys.Port]string{keys.TCP(22): server.at}, nil)
	b := boothOf(t, w, &Config{Policy: Policy{Ports: []keys.Port{keys.TCP(22)}}})

	folder := filepath.Join(t.TempDir(), "照片")
	local := filepath.Join(t.TempDir(), "photo 一.raw")
	if err := os.MkdirAll(filepath.Join(folder, "old"), 0o755); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 9<<20) // three pieces
	mathrand.NewChaCha8([32]byte{1}).Read(data)
	for path, text := range map[string][]byte{local: data, filepath.Join(folder, "log.txt"): []byte("cannot print\n"), filepath.Join(folder, "<img src=x onerror=alert(1)>"): nil} {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sum := func(name string) (any, error) {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return "", nil
		}
		s := sha256.Sum256(text)
		return hex.EncodeToString(s[:]), nil
	}
	named := func(f func(string) (any, error)) func(json.RawMessage) (any, error) {
		return func(data json.RawMessage) (any, error) {
			var name string
			if err := json.Unmarshal(data, &name); err != nil {
				return nil, err
			}
			return f(name)
		}
	}
	ann := b.as(t, operatorOf("ann", "north"))
	id := b.connect(t, ann, `{"device":"kiosk-1"}`)
	until(t, b.follow(t, ann, id), "ready", ready)
	whole := sha256.Sum256(data)
	b.play(t, "ssh.mjs", ann, id, map[string]string{
		"user": server.user, "key": server.key, "folder": folder, "local": local, "sum": hex.EncodeToString(whole[:]),
	}, map[string]func(json.RawMessage) (any, error){
		"sum": named(sum),
		"exists": named(func(name string) (any, error) {
			_, err := os.Stat(filepath.Join(folder, name))
			return err == nil, nil
		}),
	})
}
