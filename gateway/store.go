package gateway

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/boothwire/boothwire/keys"
)

// Names in the Store.
const (
	nameIdentity  = "node-identity"  // Ed25519, for TLS towards control
	nameKey       = "node-wireguard" // the node's WireGuard key
	namePort      = "node-port"      // the last UDP port that was chosen freely
	nameEnrolment = "node-enrolment"
)

// openKey loads the node's WireGuard key, or makes it.
func openKey(store keys.Store) (keys.PrivateKey, error) {
	text, err := store.Load(nameKey)
	if errors.Is(err, fs.ErrNotExist) {
		key := keys.NewPrivateKey()
		if err := store.Save(nameKey, []byte(key.Expose())); err != nil {
			return keys.PrivateKey{}, fmt.Errorf("gateway: keep the node's key: %w", err)
		}
		return key, nil
	}
	if err != nil {
		return keys.PrivateKey{}, fmt.Errorf("gateway: load the node's key: %w", err)
	}
	key, err := keys.ParsePrivateKey(string(text))
	if err != nil {
		return keys.PrivateKey{}, fmt.Errorf("gateway: load the node's key: %w", err)
	}
	return key, nil
}

func exposed(key keys.PrivateKey) (raw [32]byte, err error) {
	b, err := base64.StdEncoding.DecodeString(key.Expose())
	if err != nil || len(b) != len(raw) {
		return raw, errors.New("gateway: the node has no key")
	}
	copy(raw[:], b)
	clear(b)
	return raw, nil
}

// lastPort is the port that a node without a set one listened on, or 0.
func lastPort(store keys.Store) uint16 {
	text, err := store.Load(namePort)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(string(text), 10, 16)
	if err != nil {
		return 0
	}
	return uint16(n)
}
