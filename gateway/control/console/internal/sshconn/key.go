package sshconn

import (
	"bytes"
	"encoding/pem"
	"errors"

	"golang.org/x/crypto/ssh"
)

// maxKDF is how many rounds of bcrypt a private key may cost: at 3 ms each 1.5 s. ssh-keygen takes
// 16 unless it is told otherwise.
const maxKDF = 512

// signer reads the credential's private key.
func (c *Credential) signer() (ssh.Signer, error) {
	if rounds(c.Key()) > maxKDF {
		return nil, &Error{Code: CodeKey}
	}
	signer, err := ssh.ParsePrivateKey(c.Key())
	if _, ok := errors.AsType[*ssh.PassphraseMissingError](err); !ok {
		if err != nil {
			return nil, &Error{Code: CodeKey}
		}
		return signer, nil
	}
	if c.Passphrase == nil {
		return nil, &Error{Code: CodePassphrase}
	}
	if signer, err = ssh.ParsePrivateKeyWithPassphrase(c.Key(), c.Passphrase()); err != nil {
		return nil, &Error{Code: CodePassphrase}
	}
	return signer, nil
}

// rounds is what a private key in OpenSSH's form says that its passphrase costs, before
// anything is computed; 0 for keys in other forms.
func rounds(text []byte) uint32 {
	block, _ := pem.Decode(text)
	if block == nil {
		return 0
	}
	rest, ok := bytes.CutPrefix(block.Bytes, []byte("openssh-key-v1\x00"))
	if !ok {
		return 0
	}
	var head struct {
		Cipher, KDF, Options string
		Rest                 []byte `ssh:"rest"`
	}
	var options struct {
		Salt   string
		Rounds uint32
	}
	if ssh.Unmarshal(rest, &head) != nil || head.KDF != "bcrypt" || ssh.Unmarshal([]byte(head.Options), &options) != nil {
		return 0
	}
	return options.Rounds
}
