package sshconn

import "encoding/json"

// A Secret is text that cannot print itself: a func shows nothing of what it holds,
// in whichever field and by whichever verb. Nil is none.
type Secret func() []byte

// NewSecret returns text as a Secret; nil for "".
func NewSecret(text string) Secret {
	if text == "" {
		return nil
	}
	b := []byte(text)
	return func() []byte { return b }
}

// UnmarshalJSON reads a string.
func (s *Secret) UnmarshalJSON(text []byte) error {
	var plain string
	if err := json.Unmarshal(text, &plain); err != nil {
		return err
	}
	*s = NewSecret(plain)
	return nil
}

// Wipe overwrites the secret's bytes.
func (s Secret) Wipe() {
	if s != nil {
		clear(s())
	}
}
