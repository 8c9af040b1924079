//go:build linux

package relaybench

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/boothwire/boothwire/keys"
)

// The relay's frames, as the doc of package relay has them.
const (
	ourHeader  = 2
	ourControl = 0x8000
	ourProof   = 1
	ourReady   = 16
	ourPeer    = 17
	ourMax     = 16 << 10
	relayName  = "relay-1"
)

func ourWhole(b []byte) int {
	if len(b) < ourHeader {
		return 0
	}
	n := ourHeader + int(binary.BigEndian.Uint16(b)&^ourControl)
	if len(b) < n {
		return 0
	}
	return n
}

func ourNext(b []byte) (packet []byte, n int, err error) {
	if n = ourWhole(b); n > ourHeader && b[0]&(ourControl>>8) == 0 {
		packet = b[ourHeader:n]
	}
	if n == 0 && len(b) >= ourHeader && binary.BigEndian.Uint16(b)&^ourControl > ourMax {
		err = errors.New("a frame of the relay that is too long")
	}
	return packet, n, err
}

// A control is the folder of who signs tokens.
type control string

func (c control) signer() (root keys.IdentityKey, s *keys.Signer, err error) {
	store := keys.Dir(string(c))
	r, err := keys.OpenIdentity(store, "root")
	if err != nil {
		return root, nil, err
	}
	online, err := keys.OpenIdentity(store, "online")
	if err != nil {
		return root, nil, err
	}
	record, err := keys.SignRecord(r, keys.Record{ID: "control-1", Key: online.Key(), Epoch: 1, Scope: []string{keys.TypeRelay}})
	if err != nil {
		return root, nil, err
	}
	s, err = keys.NewSigner(online, record)
	return r.Key(), s, err
}

// ourPair is both legs of a session of its own.
func (r *role) ourPair(ctx context.Context, addrs [2]string) (legs [2]*leg, err error) {
	private := [2]keys.PrivateKey{keys.NewPrivateKey(), keys.NewPrivateKey()}
	t := keys.Token{
		Session: keys.NewID(), Rev: 1, Ends: [2]keys.PublicKey{private[0].Public(), private[1].Public()},
		Relays: []string{relayName}, End: time.Now().Add(time.Hour),
	}
	for i := range legs {
		t.Leg = i
		token, err := t.Sign(r.signer)
		if err != nil {
			return legs, err
		}
		if legs[i], err = r.ourLeg(ctx, addrs[i], token, i, private[i]); err != nil {
			return legs, err
		}
	}
	// Packets pass once both ends know of each other.
	f, err := legs[0].frame(ourWhole)
	if err == nil && (len(f) != 4 || f[2] != ourPeer || f[3] != 1) {
		err = fmt.Errorf("the other leg came, and the relay says %x", f)
	}
	return legs, err
}

func (r *role) ourLeg(ctx context.Context, addr string, token []byte, side int, key keys.PrivateKey) (*leg, error) {
	l, h, err := connect(ctx, r.pool, addr, "GET /relay HTTP/1.1\r\nHost: "+hostname+
		"\r\nConnection: Upgrade\r\nUpgrade: boothwire-relay/1\r\nBoothwire-Token: "+string(token)+"\r\n")
	if err != nil {
		return nil, err
	}
	l.next = ourNext
	l.head = binary.BigEndian.AppendUint16(nil, packetSize)
	nonce, err := base64.RawURLEncoding.DecodeString(h.Get("Boothwire-Nonce"))
	var secret []byte
	if err == nil {
		secret, err = key.RelaySecret(r.key)
	}
	if err == nil {
		sum := sha256.Sum256(token)
		generation := binary.BigEndian.AppendUint64(nil, 1)
		m := hmac.New(sha256.New, secret)
		m.Write(nonce)
		m.Write(sum[:])
		m.Write([]byte{byte(side)})
		m.Write(generation)
		proof := append(append([]byte{ourProof}, generation...), m.Sum(nil)...)
		_, err = l.Write(append(binary.BigEndian.AppendUint16(nil, ourControl|uint16(len(proof))), proof...))
	}
	var f []byte
	if err == nil {
		f, err = l.frame(ourWhole)
	}
	if err == nil && (len(f) != 4 || f[2] != ourReady) {
		err = fmt.Errorf("the relay answers the proof by %q", f)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}
