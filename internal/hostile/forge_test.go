package hostile

import (
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"strings"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

var b64 = base64.RawURLEncoding

// payloadOf reads a token without asking whose it is.
func payloadOf(token []byte) []byte {
	part := strings.Split(string(token), ".")
	if len(part) != 3 {
		return nil
	}
	b, _ := b64.DecodeString(part[1])
	return b
}

// headerOf likewise.
func headerOf(token []byte) map[string]any {
	var h map[string]any
	b, _ := b64.DecodeString(strings.Split(string(token), ".")[0])
	_ = json.Unmarshal(b, &h)
	return h
}

// rewrite changes a token's header and payload and leaves its signature.
func rewrite(token []byte, change func(header, payload map[string]any)) []byte {
	part := strings.Split(string(token), ".")
	if len(part) != 3 {
		return token
	}
	h := headerOf(token)
	var p map[string]any
	_ = json.Unmarshal(payloadOf(token), &p)
	change(h, p)
	return []byte(b64.EncodeToString(must(json.Marshal(h))) + "." + b64.EncodeToString(must(json.Marshal(p))) + "." + part[2])
}

// spoil changes one bit of the signature.
func spoil(token []byte) []byte {
	part := strings.Split(string(token), ".")
	sig, err := b64.DecodeString(part[len(part)-1])
	if err != nil || len(sig) == 0 {
		return token
	}
	sig[len(sig)/2] ^= 1
	part[len(part)-1] = b64.EncodeToString(sig)
	return []byte(strings.Join(part, "."))
}

// signer is control's own: what a test signs with it, control might have.
func (w *world) signer() *keys.Signer {
	return must(keys.NewSigner(must(keys.OpenIdentity(w.store, "signer")), must(w.store.Load("record"))))
}

// stranger is a signer for whom a root of its own vouches.
func stranger(issuer string) *keys.Signer {
	store := keys.NewMemory()
	return vouched(must(keys.OpenIdentity(store, "root")), issuer)
}

// vouched is a new signer for whom root vouches.
func vouched(root *keys.Identity, issuer string, scope ...string) *keys.Signer {
	if len(scope) == 0 {
		scope = []string{keys.TypeGrant, keys.TypeDown, keys.TypeAsk}
	}
	online := must(keys.OpenIdentity(keys.NewMemory(), "online"))
	return must(keys.NewSigner(online, must(keys.SignRecord(root, keys.Record{Issuer: issuer, ID: "control-1", Key: online.Key(), Scope: scope, Epoch: 1}))))
}

// grant is one for a device as control would make it, that nobody asked for.
func (w *world) grant(id, session string) *keys.Grant {
	k := w.kiosks[id]
	batch := must(keys.VerifyPrekeys(k.device.Prekeys(), "", id, k.device.Key()))
	return &keys.Grant{
		Session: session, Rev: 1, Device: id, Boot: batch.Boot, Prekey: batch.Keys[len(batch.Keys)-1],
		Addresses: addresses("10.166.77.1"), Far: w.node.FarEnd(),
		Operators: []keys.Operator{{ID: "mallory", Key: keys.NewPrivateKey().Public(), Address: addresses("10.166.200.1")[0], Ports: []keys.Port{keys.TCP(22)}}},
		Lifetime:  time.Hour, End: time.Now().Add(time.Hour),
	}
}

func command(c signaling.Command) []byte { return must(json.Marshal(c)) }

// raw is a command as a map, which may be any nonsense.
func raw(m map[string]any) []byte { return must(json.Marshal(m)) }

func down(s *keys.Signer, id, session string) []byte {
	return must(s.Sign(keys.TypeDown, raw(map[string]any{"session": session, "device": id, "why": "closed"})))
}

func addresses(text ...string) (list []netip.Addr) {
	for _, s := range text {
		list = append(list, netip.MustParseAddr(s))
	}
	return list
}
