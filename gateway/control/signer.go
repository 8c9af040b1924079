package control

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/boothwire/boothwire/keys"
)

// What Config.Store holds.
const (
	nameRoot   = "root"
	nameSigner = "signer"
	nameRecord = "record"
)

// scope is what the online signer may sign.
func scope() []string {
	return []string{keys.TypeGrant, keys.TypeAsk, keys.TypeRenew, keys.TypeDown, keys.TypeRelay}
}

// openSigner returns the online signer and the root that vouches for it, and makes
// both at the first start. A record without a root beside it is what a deployment
// with offline roots looks like.
func openSigner(store keys.Store, issuer string) (*keys.Signer, []string, error) {
	record, err := store.Load(nameRecord)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		record, err = makeRecord(store, issuer)
	case err == nil:
		_, err = store.Load(nameSigner) // never a new one beside an old record
	}
	if err != nil {
		return nil, nil, fmt.Errorf("control: signer: %w", err)
	}
	id, err := keys.OpenIdentity(store, nameSigner)
	if err != nil {
		return nil, nil, fmt.Errorf("control: signer: %w", err)
	}
	signer, err := keys.NewSigner(id, record)
	if err != nil {
		return nil, nil, fmt.Errorf("control: signer: %w", err)
	}
	if signer.Issuer() != issuer {
		return nil, nil, fmt.Errorf("control: the signer is of the deployment %q, not %q", signer.Issuer(), issuer)
	}
	root, err := rootOf(record)
	if err != nil {
		return nil, nil, fmt.Errorf("control: signer: %w", err)
	}
	// What nobody would believe is better noticed here than at a device.
	roots, err := keys.ParseRoots(issuer, root)
	if err != nil {
		return nil, nil, fmt.Errorf("control: root: %w", err)
	}
	probe, err := signer.Sign(keys.TypeDown, []byte(`{}`))
	if err == nil {
		_, err = roots.Verify(keys.TypeDown, probe)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("control: signer: %w", err)
	}
	return signer, []string{root}, nil
}

func makeRecord(store keys.Store, issuer string) ([]byte, error) {
	root, err := keys.OpenIdentity(store, nameRoot)
	if err != nil {
		return nil, err
	}
	id, err := keys.OpenIdentity(store, nameSigner)
	if err != nil {
		return nil, err
	}
	record, err := keys.SignRecord(root, keys.Record{Issuer: issuer, ID: "control-1", Key: id.Key(), Scope: scope(), Epoch: 1})
	if err != nil {
		return nil, err
	}
	return record, store.Save(nameRecord, record)
}

// rootOf reads which root signed a record; its signature is not verified.
func rootOf(record []byte) (string, error) {
	head, _, _ := strings.Cut(string(record), ".")
	var h struct {
		Kid string `json:"kid"`
	}
	b, err := base64.RawURLEncoding.DecodeString(head)
	if err == nil {
		err = json.Unmarshal(b, &h)
	}
	if err != nil {
		return "", errors.New("a record that is none")
	}
	return h.Kid, nil
}

// sign signs v as an object of kind typ.
func (c *Control) sign(typ string, v any) ([]byte, error) {
	payload, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("control: sign: %w", err)
	}
	token, err := c.signer.Sign(typ, payload)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	return token, nil
}

// What control signs beside grants.
type (
	downPayload struct {
		Session string `json:"session,omitempty"`
		Device  string `json:"device,omitempty"`
		Re      string `json:"re,omitempty"` // nonce of a request that is refused
		Why     string `json:"why,omitempty"`
	}
	askPayload struct {
		Session string `json:"session"`
		Device  string `json:"device"`
		Nonce   string `json:"nonce"`
	}
)
