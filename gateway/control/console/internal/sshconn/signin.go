package sshconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"golang.org/x/crypto/ssh"
)

// Limits of a sign-in. A server gives up after two minutes by itself (LoginGraceTime).
const (
	dialTimeout   = 15 * time.Second
	signInTimeout = 3 * time.Minute
	maxUser       = 256     // bytes of a user's name
	maxQuestions  = 16      // of one challenge
	maxText       = 4 << 10 // bytes of each text of the server's
	maxRounds     = 8       // challenges of one sign-in
	maxBanners    = 8       // likewise
)

// A Credential is what a person signs in with: a password, or a private key in
// OpenSSH's or PEM form. Both may be missing where the server asks by itself.
type Credential struct {
	User       string
	Password   Secret
	Key        Secret
	Passphrase Secret // of Key
}

// Wipe overwrites what is secret.
func (c *Credential) Wipe() {
	c.Password.Wipe()
	c.Key.Wipe()
	c.Passphrase.Wipe()
}

// A Question is one prompt of a server.
type Question struct {
	Text string `json:"text"`
	Echo bool   `json:"echo"` // the answer may be seen
}

// A Challenge is what a server asks at once, by keyboard-interactive.
type Challenge struct {
	Name        string     `json:"name,omitempty"`
	Instruction string     `json:"instruction,omitempty"`
	Questions   []Question `json:"questions"`
}

// An Asker puts a server's questions to the person who signs in.
type Asker interface {
	// Ask returns as many answers as there are questions.
	Ask(ctx context.Context, c Challenge) ([]Secret, error)
	// Banner shows the server's words before the sign-in.
	Banner(text string)
}

// A signIn is one try of one credential.
type signIn struct {
	ctx    context.Context
	cred   *Credential
	ask    Asker
	rounds int
	shown  int  // banners
	tried  bool // the password went by method "password"
}

func (s *signIn) methods() ([]ssh.AuthMethod, error) {
	var all []ssh.AuthMethod
	if s.cred.Key != nil {
		signer, err := s.cred.signer()
		if err != nil {
			return nil, err
		}
		all = append(all, ssh.PublicKeys(signer))
	}
	if s.cred.Password != nil {
		all = append(all, ssh.PasswordCallback(func() (string, error) {
			s.tried = true
			return string(s.cred.Password()), nil
		}))
	}
	return append(all, ssh.KeyboardInteractive(s.challenge)), nil
}

// challenge answers a server's questions: the lone hidden one with the password, where
// that was not tried yet, everything else by asking.
func (s *signIn) challenge(name, instruction string, questions []string, echos []bool) ([]string, error) {
	if s.rounds++; s.rounds > maxRounds || len(questions) > maxQuestions {
		return nil, errors.New("the server asks too much")
	}
	if len(questions) == 0 {
		return nil, nil
	}
	if len(questions) == 1 && !echos[0] && s.cred.Password != nil && !s.tried {
		s.tried = true
		return []string{string(s.cred.Password())}, nil
	}
	c := Challenge{Name: clip(name), Instruction: clip(instruction)}
	for i, q := range questions {
		c.Questions = append(c.Questions, Question{Text: clip(q), Echo: echos[i]})
	}
	secrets, err := s.ask.Ask(s.ctx, c)
	if err != nil {
		return nil, err
	}
	if len(secrets) != len(questions) {
		return nil, fmt.Errorf("%d answers to %d questions", len(secrets), len(questions))
	}
	answers := make([]string, len(secrets))
	for i, secret := range secrets {
		if secret != nil {
			answers[i] = string(secret())
			secret.Wipe()
		}
	}
	return answers, nil
}

var errBanners = errors.New("the server says too much")

// banner shows the server's words, which it may send without end.
func (s *signIn) banner(text string) error {
	if s.shown++; s.shown > maxBanners {
		return errBanners
	}
	s.ask.Banner(clip(text))
	return nil
}

// hostKeys are the kinds of host keys, in the order in which they are asked for: a
// server has several, and the device signed the hash of one.
var hostKeys = [][]string{
	{ssh.KeyAlgoED25519},
	{ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521},
	{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256},
}

// errOtherKey is an answer with another host key than the pinned one.
var errOtherKey = errors.New("another host key")

// handshake connects to the device and signs in. No credential leaves before the host
// key has the pinned hash.
func (c *Conns) handshake(ctx context.Context, t Target, cred *Credential, ask Asker) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, signInTimeout)
	defer cancel()
	if !validUser(cred.User) {
		return nil, &Error{Code: CodeUser}
	}
	signed, err := t.HostKey(ctx)
	if err != nil {
		return nil, &Error{Code: CodeUnreachable, Err: err}
	}
	hash, how, err := c.want(t.Device(), signed)
	if err != nil {
		return nil, err
	}
	var shown bool
	for _, kinds := range hostKeys {
		conn, err := c.attempt(ctx, t, kinds, hash, cred, ask)
		if err == nil {
			conn.HostKeyBy = how
			return conn, nil
		}
		if errors.Is(err, errOtherKey) {
			shown = true
			continue
		}
		if noCommonKey(err) {
			continue
		}
		return nil, err
	}
	if shown {
		return nil, &Error{Code: CodeMismatch}
	}
	return nil, &Error{Code: CodeUnreachable, Err: errors.New("the server has no host key of a kind that is known")}
}

// noCommonKey reports whether the server has no host key of the kinds asked for.
func noCommonKey(err error) bool {
	none, ok := errors.AsType[*ssh.AlgorithmNegotiationError](err)
	return ok && none.What == "host key"
}

// attempt is one connection that takes host keys of some kinds.
func (c *Conns) attempt(ctx context.Context, t Target, kinds []string, hash string, cred *Credential, ask Asker) (*Conn, error) {
	s := &signIn{ctx: ctx, cred: cred, ask: ask}
	methods, err := s.methods()
	if err != nil {
		return nil, err
	}
	dial, stop := context.WithTimeout(ctx, dialTimeout)
	defer stop()
	raw, err := t.Dial(dial, Port)
	if err != nil {
		return nil, &Error{Code: CodeUnreachable, Err: err}
	}
	defer context.AfterFunc(ctx, func() { raw.Close() })()
	raw.SetDeadline(time.Now().Add(dialTimeout)) // until the host key is there
	var shown string
	var accepted atomic.Bool
	client, channels, requests, err := ssh.NewClientConn(raw, t.Device(), &ssh.ClientConfig{
		User: cred.User, Auth: methods, HostKeyAlgorithms: kinds,
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			if shown = ssh.FingerprintSHA256(key); hash != "" && shown != hash {
				return errOtherKey
			}
			if hash == "" {
				if err := c.remember(t.Device(), shown); err != nil {
					return err
				}
			}
			accepted.Store(true)
			return raw.SetDeadline(time.Time{}) // a person may have to answer; ctx bounds it
		},
		BannerCallback: func(text string) error {
			if s.banner(text) != nil {
				raw.Close() // an error of ours would leave what comes behind it unread, and its reader behind
			}
			return nil
		},
	})
	if err != nil {
		raw.Close()
		if s.shown > maxBanners {
			err = errBanners
		}
		return nil, refusal(ctx, err, accepted.Load())
	}
	return newConn(t, raw, ssh.NewClient(client, channels, requests), cred.User, shown), nil
}

// refusal gives a failed handshake its code; keyed says that the host key was right.
func refusal(ctx context.Context, err error, keyed bool) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &Error{Code: CodeSlow}
	case ctx.Err() != nil:
		return &Error{Code: CodeEnded}
	case errors.Is(err, errOtherKey) || noCommonKey(err):
		return err
	case keyed:
		return &Error{Code: CodeDenied, Err: errors.New(clip(err.Error()))}
	}
	return &Error{Code: CodeUnreachable, Err: errors.New(clip(err.Error()))}
}

func validUser(name string) bool {
	return name != "" && len(name) <= maxUser && strings.IndexFunc(name, unicode.IsControl) < 0
}

// clip shortens a server's text to what is shown of it, as UTF-8.
func clip(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxText)], "\uFFFD")
}
