package terminal

import (
	"errors"

	"github.com/boothwire/boothwire/gateway/control/console/internal/sshconn"
	"github.com/boothwire/boothwire/internal/strictjson"
)

// Limits of what a page sends.
const (
	maxText    = 64 << 10 // bytes of a text message: a private key is a few thousand
	maxBinary  = 64 << 10 // bytes of keystrokes in one message
	maxSide    = 1000     // characters
	maxAnswers = 16
)

var errMessage = errors.New("terminal: no message of the protocol")

// hello is a page's first message.
type hello struct {
	Code  string `json:"code"` // connect code, used once
	Files bool   `json:"files,omitempty"`
	size
}

// size is a terminal's, in characters.
type size struct {
	Cols int `json:"cols,omitempty"`
	Rows int `json:"rows,omitempty"`
}

func (s size) valid() bool {
	return s.Cols > 0 && s.Cols <= maxSide && s.Rows > 0 && s.Rows <= maxSide
}

// order is one of a page's later text messages: one of its fields is set.
type order struct {
	SignIn  *credential      `json:"signin,omitempty"`
	Answers []sshconn.Secret `json:"answers,omitempty"`
	Resize  *size            `json:"resize,omitempty"`
	Ack     int              `json:"ack,omitempty"`
}

// credential is what a person signs in with.
type credential struct {
	User       string         `json:"user"`
	Password   sshconn.Secret `json:"password,omitempty"`
	Key        sshconn.Secret `json:"key,omitempty"`
	Passphrase sshconn.Secret `json:"passphrase,omitempty"`
}

func parseHello(text []byte) (hello, error) {
	var h hello
	if err := parse(text, &h); err != nil {
		return hello{}, err
	}
	if h.Code == "" || len(h.Code) > 256 || !h.Files && !h.valid() {
		return hello{}, errMessage
	}
	return h, nil
}

func parseOrder(text []byte) (order, error) {
	var o order
	if err := parse(text, &o); err != nil {
		return order{}, err
	}
	set := 0
	for _, is := range []bool{o.SignIn != nil, o.Answers != nil, o.Resize != nil, o.Ack != 0} {
		if is {
			set++
		}
	}
	if set != 1 || len(o.Answers) > maxAnswers || o.Resize != nil && !o.Resize.valid() || o.Ack < 0 || o.Ack > Window {
		return order{}, errMessage
	}
	return o, nil
}

// parse decodes one message. What it says of a bad one has nothing of the message in
// it, which may hold a password.
func parse(text []byte, into any) error {
	if len(text) > maxText || strictjson.Unmarshal(text, into) != nil {
		return errMessage
	}
	return nil
}

// notice is one of the console's text messages: one of its fields is set.
type notice struct {
	SignIn *asked             `json:"signin,omitempty"`
	Banner string             `json:"banner,omitempty"` // the server's words before the sign-in
	Prompt *sshconn.Challenge `json:"prompt,omitempty"`
	Ready  *ready             `json:"ready,omitempty"`
	Ack    int                `json:"ack,omitempty"`
	Exit   *sshconn.Exit      `json:"exit,omitempty"`
	Over   *over              `json:"over,omitempty"`
}

// asked wants a credential.
type asked struct {
	Code   string `json:"code,omitempty"`   // why the one before was not taken
	Detail string `json:"detail,omitempty"` // in the server's words
}

// ready says that the person is signed in.
type ready struct {
	User      string `json:"user"`
	HostKey   string `json:"host_key"`
	HostKeyBy string `json:"host_key_by"`
	Windows   bool   `json:"windows,omitempty"`
}

// over says why the socket closes; its code is the close frame's reason, too.
type over struct {
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"`
}
