package desktop

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"time"

	"golang.org/x/crypto/ssh"
)

// kinds are what a device's one signed host key may be; a server has others beside it.
var kinds = [][]string{
	{ssh.KeyAlgoED25519},
	{ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521},
	{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256},
}

// hostKey finds the host key that the device signed, as known_hosts writes it. guacd is
// told the key, for it knows none by a hash.
func hostKey(ctx context.Context, t *Target) (string, error) {
	if t.SSH == "" {
		return "", errNoHostKey
	}
	for _, kind := range kinds {
		key, err := shown(ctx, t, kind)
		if err != nil {
			return "", err
		}
		if key != nil && ssh.FingerprintSHA256(key) == t.SSH {
			return key.Type() + " " + base64.StdEncoding.EncodeToString(key.Marshal()), nil
		}
	}
	return "", errWrongHostKey
}

var errSeen = errors.New("seen")

// shown is the server's host key of some kind; nil if it has none.
func shown(ctx context.Context, t *Target, kind []string) (key ssh.PublicKey, err error) {
	conn, err := t.Dial(ctx, portSSH)
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	conn.SetDeadline(time.Now().Add(step))
	c, _, _, err := ssh.NewClientConn(conn, "", &ssh.ClientConfig{
		HostKeyAlgorithms: kind,
		HostKeyCallback: func(_ string, _ net.Addr, k ssh.PublicKey) error {
			key = k
			return errSeen
		},
	})
	if err == nil { // no handshake passes without the callback
		c.Close()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return key, nil
}
