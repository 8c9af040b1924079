package sshconn_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/boothwire/boothwire/gateway/control/console/internal/firstuse"
	"github.com/boothwire/boothwire/gateway/control/console/internal/sshconn"
	"github.com/boothwire/boothwire/gateway/control/console/internal/sshtest"
	"github.com/boothwire/boothwire/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// An answerer says the same to every question, and notes them.
type answerer struct {
	answers []string
	asked   []sshconn.Challenge
	banner  string
}

func (a *answerer) Ask(_ context.Context, c sshconn.Challenge) ([]sshconn.Secret, error) {
	a.asked = append(a.asked, c)
	var all []sshconn.Secret
	for i := range c.Questions {
		all = append(all, sshconn.NewSecret(a.answers[i]))
	}
	return all, nil
}

func (a *answerer) Banner(text string) { a.banner += text }

func conns(t *testing.T, firstUse bool, path string) *sshconn.Conns {
	t.Helper()
	var first *firstuse.Pins
	if firstUse {
		var err error
		if first, err = firstuse.Open(path); err != nil {
			t.Fatal(err)
		}
	}
	c := sshconn.New(first, nil)
	t.Cleanup(func() { c.Close() })
	return c
}

func password(text string) *sshconn.Credential {
	return &sshconn.Credential{User: "operator", Password: sshconn.NewSecret(text)}
}

func code(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	e, ok := errors.AsType[*sshconn.Error](err)
	if !ok {
		t.Fatalf("%v is no *Error", err)
	}
	return e.Code
}

// keyFile is an authorised key and its private half in a file's form, encrypted where
// there is a passphrase: in an old way, since bcrypt takes seconds under -race.
func keyFile(t *testing.T, passphrase string) (ssh.PublicKey, string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if passphrase != "" {
		der, e := x509.MarshalECPrivateKey(private)
		if e != nil {
			t.Fatal(e)
		}
		block, err = x509.EncryptPEMBlock(rand.Reader, "EC PRIVATE KEY", der, []byte(passphrase), x509.PEMCipherAES256)
	}
	if err != nil {
		t.Fatal(err)
	}
	return signer.PublicKey(), string(pem.EncodeToMemory(block))
}

func TestSignIn(t *testing.T) {
	public, plain := keyFile(t, "")
	locked, encrypted := keyFile(t, "open")
	asks := func(ask ssh.KeyboardInteractiveChallenge) error {
		answers, err := ask("token", "look at it", []string{"PIN: ", "Name: "}, []bool{false, true})
		if err != nil || answers[0] != "12" || answers[1] != "li" {
			return errors.New("wrong")
		}
		return nil
	}
	lone := func(ask ssh.KeyboardInteractiveChallenge) error {
		if answers, err := ask("", "", []string{"Password: "}, []bool{false}); err != nil || answers[0] != "right" {
			return errors.New("wrong")
		}
		return nil
	}
	for _, tt := range []struct {
		name    string
		server  sshtest.Config
		cred    sshconn.Credential
		answers []string
		asked   int
		want    string
	}{
		{"password", sshtest.Config{}, *password("right"), nil, 0, ""},
		{"wrong password", sshtest.Config{}, *password("wrong"), nil, 0, sshconn.CodeDenied},
		{"wrong user", sshtest.Config{}, sshconn.Credential{User: "root", Password: sshconn.NewSecret("right")}, nil, 0, sshconn.CodeDenied},
		{"no user", sshtest.Config{}, sshconn.Credential{Password: sshconn.NewSecret("right")}, nil, 0, sshconn.CodeUser},
		{"no name of a user", sshtest.Config{}, sshconn.Credential{User: "a\nb"}, nil, 0, sshconn.CodeUser},
		{"nothing", sshtest.Config{}, sshconn.Credential{User: "operator"}, nil, 0, sshconn.CodeDenied},
		{"key", sshtest.Config{Key: public}, sshconn.Credential{User: "operator", Key: sshconn.NewSecret(plain)}, nil, 0, ""},
		{"another key", sshtest.Config{Key: public}, sshconn.Credential{User: "operator", Key: sshconn.NewSecret(encrypted), Passphrase: sshconn.NewSecret("open")}, nil, 0, sshconn.CodeDenied},
		{"encrypted key", sshtest.Config{Key: locked}, sshconn.Credential{User: "operator", Key: sshconn.NewSecret(encrypted), Passphrase: sshconn.NewSecret("open")}, nil, 0, ""},
		{"encrypted key without its passphrase", sshtest.Config{Key: locked}, sshconn.Credential{User: "operator", Key: sshconn.NewSecret(encrypted)}, nil, 0, sshconn.CodePassphrase},
		{"encrypted key with another passphrase", sshtest.Config{Key: locked}, sshconn.Credential{User: "operator", Key: sshconn.NewSecret(encrypted), Passphrase: sshconn.NewSecret("no")}, nil, 0, sshconn.CodePassphrase},
		{"no key", sshtest.Config{Key: public}, sshconn.Credential{User: "operator", Key: sshconn.NewSecret("hunter2")}, nil, 0, sshconn.CodeKey},
		{"questions", sshtest.Config{Interactive: asks}, sshconn.Credential{User: "operator"}, []string{"12", "li"}, 1, ""},
		{"questions, answered wrongly", sshtest.Config{Interactive: asks}, sshconn.Credential{User: "operator"}, []string{"13", "li"}, 1, sshconn.CodeDenied},
		{"the password, asked for", sshtest.Config{Interactive: lone}, *password("right"), nil, 0, ""},
		{"key and then a question", sshtest.Config{Key: public, Interactive: asks}, sshconn.Credential{User: "operator", Key: sshconn.NewSecret(encrypted), Passphrase: sshconn.NewSecret("open")}, []string{"12", "li"}, 1, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.server.Banner = "Property of the mall"
			server := sshtest.Serve(t, tt.server)
			all := conns(t, false, "")
			ask := &answerer{answers: tt.answers}
			target := server.Lead(t)
			conn, err := all.SignIn(context.Background(), target, &tt.cred, ask)
			if got := code(t, err); got != tt.want {
				t.Fatalf("%v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error has the credential in it: %v", err)
			}
			if len(ask.asked) != tt.asked {
				t.Errorf("asked %v", ask.asked)
			}
			for _, s := range []sshconn.Secret{tt.cred.Password, tt.cred.Key, tt.cred.Passphrase} {
				if s != nil && strings.Trim(string(s()), "\x00") != "" {
					t.Error("a secret was not wiped")
				}
			}
			if err != nil {
				if all.Of(target.Key()) != nil {
					t.Error("there is a connection all the same")
				}
				return
			}
			if all.Of(target.Key()) != conn || conn.User != "operator" || conn.HostKey != server.Fingerprint || conn.HostKeyBy != sshconn.Signed {
				t.Errorf("signed in as %q to %s (%s)", conn.User, conn.HostKey, conn.HostKeyBy)
			}
			if ask.banner != "Property of the mall" {
				t.Errorf("banner %q", ask.banner)
			}
		})
	}
}

// No credential is shown to a server whose key is not the signed one.
func TestHostKey(t *testing.T) {
	ed, ec, rsa := sshtest.Key(t, "ed25519"), sshtest.Key(t, "ecdsa"), sshtest.Key(t, "rsa")
	for _, tt := range []struct {
		name   string
		keys   []ssh.Signer
		signed string
		want   string
	}{
		{"the first kind", []ssh.Signer{ed, ec, rsa}, ssh.FingerprintSHA256(ed.PublicKey()), ""},
		{"the second", []ssh.Signer{ed, ec, rsa}, ssh.FingerprintSHA256(ec.PublicKey()), ""},
		{"the last", []ssh.Signer{ed, ec, rsa}, ssh.FingerprintSHA256(rsa.PublicKey()), ""},
		{"an RSA key alone", []ssh.Signer{rsa}, ssh.FingerprintSHA256(rsa.PublicKey()), ""},
		{"another key", []ssh.Signer{ed, ec}, ssh.FingerprintSHA256(rsa.PublicKey()), sshconn.CodeMismatch},
		{"another key of the same kind", []ssh.Signer{sshtest.Key(t, "ed25519")}, ssh.FingerprintSHA256(ed.PublicKey()), sshconn.CodeMismatch},
		{"no hash", []ssh.Signer{ed}, "SHA256:", sshconn.CodeMismatch},
		{"none signed", []ssh.Signer{ed}, "none", sshconn.CodeUnsigned},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := sshtest.Serve(t, sshtest.Config{HostKeys: tt.keys})
			target := server.Lead(t)
			target.Signed = tt.signed
			_, err := conns(t, false, "").SignIn(context.Background(), target, password("right"), &answerer{})
			if got := code(t, err); got != tt.want {
				t.Fatalf("%v, want %q", err, tt.want)
			}
			if tt.want != "" && server.Tries() != 0 {
				t.Error("a credential was shown")
			}
		})
	}
}

// Where policy says so, the first key of a device is remembered, also across restarts.
func TestFirstUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	server := sshtest.Serve(t, sshtest.Config{})
	for _, how := range []string{sshconn.FirstUse, sshconn.Remembered} {
		target := server.Lead(t)
		target.Signed = "none"
		conn, err := conns(t, true, path).SignIn(context.Background(), target, password("right"), &answerer{})
		if err != nil || conn.HostKeyBy != how {
			t.Fatalf("%s: %v", how, err)
		}
	}
	impostor := sshtest.Serve(t, sshtest.Config{}).Lead(t)
	impostor.Signed = "none"
	if _, err := conns(t, true, path).SignIn(context.Background(), impostor, password("right"), &answerer{}); code(t, err) != sshconn.CodeMismatch || impostor.Server.Tries() != 0 {
		t.Errorf("another key: %v", err)
	}
	impostor.Name = "kiosk-2"
	if _, err := conns(t, true, path).SignIn(context.Background(), impostor, password("right"), &answerer{}); err != nil {
		t.Errorf("another device: %v", err)
	}
}

// What the server is, it says of itself.
func TestWindows(t *testing.T) {
	for version, want := range map[string]bool{"SSH-2.0-OpenSSH_for_Windows_9.5": true, "SSH-2.0-OpenSSH_9.2p1 Debian-2": false} {
		server := sshtest.Serve(t, sshtest.Config{Version: version})
		conn, err := conns(t, false, "").SignIn(context.Background(), server.Lead(t), password("right"), &answerer{})
		if err != nil || conn.Windows != want {
			t.Errorf("%s: %v", version, err)
		}
	}
}

// One connection serves everybody with the same key, and nobody else.
func TestShared(t *testing.T) {
	server := sshtest.Serve(t, sshtest.Config{})
	all := conns(t, false, "")
	target := server.Lead(t)
	one, err := all.SignIn(context.Background(), target, password("right"), &answerer{})
	if err != nil {
		t.Fatal(err)
	}
	if two, err := all.SignIn(context.Background(), target, password("wrong"), &answerer{}); err != nil || two != one {
		t.Errorf("the second sign-in made another connection: %v", err)
	}
	other := server.Lead(t)
	other.Login = "another"
	if _, err := all.SignIn(context.Background(), other, password("wrong"), &answerer{}); code(t, err) != sshconn.CodeDenied {
		t.Errorf("another login came in: %v", err)
	}
}

// A connection ends with its target, with the server, and with Close; each says so.
func TestEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(*sshconn.Conns, *sshtest.Target)
		want string
	}{
		"target": {func(_ *sshconn.Conns, t *sshtest.Target) { t.Cancel(nil) }, sshconn.CodeEnded},
		"server": {func(_ *sshconn.Conns, t *sshtest.Target) { t.Server.Cut() }, sshconn.CodeLost},
		"close":  {func(c *sshconn.Conns, _ *sshtest.Target) { c.Close() }, sshconn.CodeEnded},
	} {
		t.Run(name, func(t *testing.T) {
			server := sshtest.Serve(t, sshtest.Config{Shell: sshtest.Echo})
			all := conns(t, false, "")
			target := server.Lead(t)
			conn, err := all.SignIn(context.Background(), target, password("right"), &answerer{})
			if err != nil {
				t.Fatal(err)
			}
			shell, err := conn.Shell(context.Background(), 80, 24)
			if err != nil {
				t.Fatal(err)
			}
			defer shell.Close()
			tt.end(all, target)
			<-conn.Done()
			if got := code(t, conn.Err()); got != tt.want {
				t.Errorf("%v, want %q", conn.Err(), tt.want)
			}
			if _, err := io.ReadAll(shell.Out); err != nil && !errors.Is(err, io.EOF) {
				t.Logf("output ended: %v", err)
			}
			if exit := shell.Wait(); !exit.Lost {
				t.Errorf("the shell ended with %+v", exit)
			}
			for deadline := time.Now().Add(30 * time.Second); all.Of(target.Key()) != nil; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("the connection is still there")
				}
			}
		})
	}
}

// A connection has so many channels; closing one makes room.
func TestChannelsAreBounded(t *testing.T) {
	server := sshtest.Serve(t, sshtest.Config{Shell: sshtest.Echo})
	conn, err := conns(t, false, "").SignIn(context.Background(), server.Lead(t), password("right"), &answerer{})
	if err != nil {
		t.Fatal(err)
	}
	var shells []*sshconn.Shell
	for {
		shell, err := conn.Shell(context.Background(), 80, 24)
		if err != nil {
			if code(t, err) != sshconn.CodeMany || len(shells) < 4 || len(shells) > 10 {
				t.Fatalf("after %d: %v", len(shells), err)
			}
			break
		}
		shells = append(shells, shell)
	}
	shells[0].Close()
	shells[0].Close()
	again, err := conn.Shell(context.Background(), 80, 24)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if _, err := conn.Subsystem(context.Background(), "sftp"); code(t, err) != sshconn.CodeRefused {
		t.Errorf("a subsystem that the server has not: %v", err)
	}
}

// Nobody who waits for a person, or for a server that says nothing, waits longer than
// the target lasts.
func TestSignInIsCancelled(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	mute := sshtest.Serve(t, sshtest.Config{}).Lead(t)
	mute.Server.Addr = ln.Addr().String()
	time.AfterFunc(50*time.Millisecond, func() { mute.Cancel(nil) })
	if _, err := conns(t, false, "").SignIn(context.Background(), mute, password("right"), &answerer{}); code(t, err) != sshconn.CodeEnded {
		t.Errorf("%v", err)
	}
	gone := sshtest.Serve(t, sshtest.Config{}).Lead(t)
	ln.Close()
	gone.Server.Addr = ln.Addr().String()
	if _, err := conns(t, false, "").SignIn(context.Background(), gone, password("right"), &answerer{}); code(t, err) != sshconn.CodeUnreachable {
		t.Errorf("%v", err)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	cred := struct {
		inner sshconn.Credential
		Outer *sshconn.Credential
	}{*password("hunter2"), password("hunter2")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if text := fmt.Sprintf(verb, cred); strings.Contains(text, "hunter2") || strings.Contains(text, fmt.Sprintf("%x", "hunter2")) {
			t.Errorf("%s prints %s", verb, text)
		}
	}
}

// A server that says something without end loses the connection.
func TestFloodOfBanners(t *testing.T) {
	server := sshtest.Serve(t, sshtest.Config{Banner: "Property of the mall", Flood: true})
	ask := new(answerer)
	_, err := conns(t, false, "").SignIn(t.Context(), server.Lead(t), password("right"), ask)
	if got := code(t, err); got != sshconn.CodeDenied {
		t.Errorf("%v", err)
	}
	if n := strings.Count(ask.banner, "mall"); n == 0 || n > 100 {
		t.Errorf("%d banners are shown", n)
	}
}
