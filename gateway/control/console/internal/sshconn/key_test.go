package sshconn

import (
	"crypto/ed25519"
	"encoding/pem"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// expensive is an OpenSSH key whose passphrase costs so many rounds.
func expensive(rounds uint32) []byte {
	options := ssh.Marshal(struct {
		Salt   string
		Rounds uint32
	}{strings.Repeat("s", 16), rounds})
	head := ssh.Marshal(struct{ Cipher, KDF, Options string }{"aes256-ctr", "bcrypt", string(options)})
	body := append([]byte("openssh-key-v1\x00"), head...)
	body = append(body, ssh.Marshal(struct {
		Keys         uint32
		Public, Rest string
	}{1, "public", strings.Repeat("x", 64)})...)
	return pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: body})
}

// A key that would take hours to open is refused at once.
func TestExpensiveKey(t *testing.T) {
	for _, n := range []uint32{maxKDF + 1, 1 << 31, 1<<32 - 1} {
		c := Credential{Key: NewSecret(string(expensive(n))), Passphrase: NewSecret("x")}
		if _, err := c.signer(); codeOf(err) != CodeKey {
			t.Errorf("%d rounds: %v", n, err)
		}
	}
	if n := rounds(expensive(16)); n != 16 {
		t.Errorf("%d rounds, want 16", n)
	}
}

func FuzzRounds(f *testing.F) {
	block, err := ssh.MarshalPrivateKey(ed25519.NewKeyFromSeed(make([]byte, 32)), "")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pem.EncodeToMemory(block))
	f.Add(expensive(1 << 31))
	f.Fuzz(func(t *testing.T, text []byte) {
		if rounds(text) > maxKDF {
			return
		}
		c := Credential{Key: func() []byte { return text }}
		if signer, err := c.signer(); (signer == nil) == (err == nil) {
			t.Fatal("neither a key nor a refusal")
		}
	})
}
