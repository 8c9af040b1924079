//go:build linux

package relaybench

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/nacl/box"
)

// DERP version 2: a frame is a type, a big-endian u32 and as many bytes. The server
// says SERVER_KEY, the client CLIENT_INFO, the server SERVER_INFO.
const (
	derpHeader     = 5
	derpKey        = 32
	derpServerKey  = 1 // 8 bytes of magic, key
	derpClientInfo = 2 // key, nonce, box of JSON
	derpServerInfo = 3
	derpSend       = 4 // key of who gets it, packet
	derpRecv       = 5 // key of who sent it, packet
	derpMagic      = "DERP\U0001F511"
	derpMax        = 64 << 10 // bytes of a packet
)

func derpWhole(b []byte) int {
	if len(b) < derpHeader {
		return 0
	}
	n := derpHeader + int(binary.BigEndian.Uint32(b[1:]))
	if len(b) < n {
		return 0
	}
	return n
}

func derpNext(b []byte) (packet []byte, n int, err error) {
	if len(b) >= derpHeader && binary.BigEndian.Uint32(b[1:]) > derpMax {
		return nil, 0, errors.New("a frame of DERP that is too long")
	}
	n = derpWhole(b)
	if n > derpHeader+derpKey && b[0] == derpRecv {
		packet = b[derpHeader+derpKey : n]
	}
	return packet, n, nil
}

func derpFrame(typ byte, body []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{typ}, uint32(len(body)))
	return append(b, body...)
}

// derpPair is two clients that send to each other.
func (r *role) derpPair(ctx context.Context, addrs [2]string) (legs [2]*leg, err error) {
	var private, public [2][derpKey]byte
	for i := range private {
		k, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			return legs, err
		}
		private[i], public[i] = [derpKey]byte(k.Bytes()), [derpKey]byte(k.PublicKey().Bytes())
	}
	for i := range legs {
		if legs[i], err = r.derpLeg(ctx, addrs[i], &public[i], &private[i]); err != nil {
			break
		}
		head := binary.BigEndian.AppendUint32([]byte{derpSend}, derpKey+packetSize)
		legs[i].head = append(head, public[1-i][:]...)
	}
	return legs, err
}

func (r *role) derpLeg(ctx context.Context, addr string, public, private *[derpKey]byte) (*leg, error) {
	l, _, err := connect(ctx, r.pool, addr, "GET /derp HTTP/1.1\r\nHost: "+hostname+"\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n")
	if err != nil {
		return nil, err
	}
	l.next = derpNext
	f, err := l.frame(derpWhole)
	if err == nil && (f[0] != derpServerKey || len(f) < derpHeader+len(derpMagic)+derpKey || string(f[derpHeader:][:len(derpMagic)]) != derpMagic) {
		err = errors.New("no greeting of DERP")
	}
	if err == nil {
		server := [derpKey]byte(f[derpHeader+len(derpMagic):])
		var nonce [24]byte
		rand.Read(nonce[:])
		info := append(append([]byte(nil), public[:]...), nonce[:]...)
		info = box.Seal(info, []byte(`{"version":2}`), &nonce, &server, private)
		_, err = l.Write(derpFrame(derpClientInfo, info))
	}
	if err == nil {
		f, err = l.frame(derpWhole)
	}
	if err == nil && f[0] != derpServerInfo {
		err = errors.New("DERP did not take the login")
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}
