package https

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

// NonceLife is how long a nonce lasts if it is not used. It outlasts the longest poll, so
// that the nonce for a status, handed out before a poll, is good until the poll's end.
const NonceLife = 120 * time.Second

const (
	// A nonce is its number, the second of its making and a MAC over both and the device.
	nonceMAC   = 16
	nonceBytes = 8 + 4 + nonceMAC
	nonceText  = (nonceBytes*8 + 5) / 6

	// 2^20 nonces can be outstanding: 10,000 devices take about 400 a second, 48,000 in
	// NonceLife. Whoever asks for a million within it makes nonces expire earlier, which
	// costs others one more round trip. One bit each: 128 KiB.
	nonceWindow = 1 << 20
)

var (
	errNonceForged = errors.New("https: nonce not made here")
	errNonceOld    = errors.New("https: nonce expired")
	errNonceUsed   = errors.New("https: nonce used")
)

// nonces makes and checks nonces. Nothing is kept of one that is outstanding but its bit,
// so that handing them to strangers costs no memory.
type nonces struct {
	key   [32]byte
	start time.Time

	mu   sync.Mutex
	next uint64
	used []uint64 // bit n mod nonceWindow: number n was used
}

func newNonces() *nonces {
	n := &nonces{start: time.Now(), used: make([]uint64, nonceWindow/64)}
	rand.Read(n.key[:])
	return n
}

// seconds counts on the monotonic clock, so a step of the wall clock changes no life.
func (n *nonces) seconds() uint32 { return uint32(time.Since(n.start) / time.Second) }

// issue makes a nonce for one request of the device.
func (n *nonces) issue(device string) string {
	n.mu.Lock()
	number := n.next
	n.next++
	n.used[number%nonceWindow/64] &^= 1 << (number % 64)
	n.mu.Unlock()

	var b [nonceBytes]byte
	binary.BigEndian.PutUint64(b[:], number)
	binary.BigEndian.PutUint32(b[8:], n.seconds())
	copy(b[12:], n.mac(b[:12], device))
	return encoding.EncodeToString(b[:])
}

func (n *nonces) mac(head []byte, device string) []byte {
	h := hmac.New(sha256.New, n.key[:])
	h.Write(head)
	h.Write([]byte(device))
	return h.Sum(nil)[:nonceMAC]
}

// check tells whether a nonce was made here, for this device, and is still fresh and
// unused. It uses up nothing.
func (n *nonces) check(text, device string) (number uint64, err error) {
	var b [nonceBytes]byte
	if len(text) != nonceText {
		return 0, errNonceForged
	}
	if m, err := encoding.Decode(b[:], []byte(text)); err != nil || m != nonceBytes {
		return 0, errNonceForged
	}
	if !hmac.Equal(b[12:], n.mac(b[:12], device)) {
		return 0, errNonceForged
	}
	if n.seconds()-binary.BigEndian.Uint32(b[8:]) > uint32(NonceLife/time.Second) {
		return 0, errNonceOld
	}
	number = binary.BigEndian.Uint64(b[:])
	n.mu.Lock()
	defer n.mu.Unlock()
	return number, n.fresh(number)
}

// use spends a nonce that check accepted; of two requests with one nonce only one can.
func (n *nonces) use(number uint64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.fresh(number); err != nil {
		return err
	}
	n.used[number%nonceWindow/64] |= 1 << (number % 64)
	return nil
}

// fresh wants mu held.
func (n *nonces) fresh(number uint64) error {
	switch {
	case number+nonceWindow < n.next:
		return errNonceOld
	case n.used[number%nonceWindow/64]&(1<<(number%64)) != 0:
		return errNonceUsed
	}
	return nil
}
