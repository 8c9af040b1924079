package keys

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

var addGolden = flag.Bool("golden", false, "write the golden messages that are missing; none is ever rewritten")

// golden returns the message that release v1 made, which must verify for ever.
func golden(t *testing.T, name string, create func() []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", "v1", name)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && *addGolden {
		b = create()
		err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGolden(t *testing.T) {
	w := newWorld(t)
	der, err := x509.MarshalPKCS8PrivateKey(seeded(4).load())
	if err != nil {
		t.Fatal(err)
	}
	identity := golden(t, "identity.pem", func() []byte { return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}) })
	if err := w.store.Save(identityName, identity); err != nil {
		t.Fatal(err)
	}
	w.boot()
	if w.device.Key() != seeded(4).Key() {
		t.Fatal("another identity")
	}
	w.device.Fingerprints([32]byte{1}, [32]byte{2})
	w.device.Rotate()
	roots, err := ParseRoots("", w.trust.Roots...)
	if err != nil {
		t.Fatal(err)
	}

	grant := w.grant("0000000000000000000000000g", 2, fixed(0x11).Public())
	grant.Boot, grant.Re, grant.Caps = "0000000000000000000000000b", "0000000000000000000000000n", []string{"renew"}
	got, err := roots.VerifyGrant(golden(t, "grant.jws", func() []byte { return w.sign(grant) }))
	if err != nil || !reflect.DeepEqual(got, grant) {
		t.Errorf("grant: %v\ngot  %+v\nwant %+v", err, got, grant)
	}
	control := func(name, typ, payload string) {
		t.Helper()
		tok := golden(t, name, func() []byte {
			b, err := w.signer.Sign(typ, []byte(payload))
			if err != nil {
				t.Fatal(err)
			}
			return b
		})
		if p, err := roots.Verify(typ, tok); err != nil || string(p) != payload {
			t.Errorf("%s: %q %v", name, p, err)
		}
		if p, err := w.device.Verify(typ, tok); err != nil || string(p) != payload {
			t.Errorf("%s at the device: %q %v", name, p, err)
		}
	}
	control("ask.jws", TypeAsk, `{"session":"s1","device":"press-7","nonce":"n1"}`)
	control("down.jws", TypeDown, `{"session":"s1","device":"press-7","why":"closed"}`)
	record := golden(t, "record.jws", func() []byte { return []byte(w.signer.token) })
	if _, err := NewSigner(w.online, record); err != nil {
		t.Errorf("record: %v", err)
	}

	came := seeded(5)
	lists := golden(t, "roots.json", func() []byte { return command(t, list(2, came), w.root, came) })
	if err := roots.Update(lists); err != nil || roots.N() != 2 || roots.List().Roots[0] != came.Key() {
		t.Errorf("roots: %v", err)
	}

	device := func(name, typ string, create func() ([]byte, error)) []byte {
		t.Helper()
		tok := golden(t, name, func() []byte {
			b, err := create()
			if err != nil {
				t.Fatal(err)
			}
			return b
		})
		s, err := VerifyStatement(typ, tok, "boothwire", "press-7", seeded(4).Key())
		if err != nil || s.Seq == 0 || s.Boot == "" {
			t.Fatalf("%s: %v", name, err)
		}
		return tok
	}
	device("status.jws", TypeStatus, func() ([]byte, error) { return w.device.Sign(TypeStatus, []byte(`{"vpn":"disconnected"}`)) })
	device("reply.jws", TypeReply, func() ([]byte, error) { return w.device.Sign(TypeReply, []byte(`{"vpn":"connected"}`)) })
	device("request.jws", TypeRequest, func() ([]byte, error) {
		b, _, err := w.device.Request([]byte(`{"server":"wg-bj-01","session":""}`))
		return b, err
	})
	device("answer.jws", TypeAnswer, func() ([]byte, error) { return w.device.Answer(w.ask("s1", "n1")) })
	batch := device("prekeys.jws", TypePrekeys, func() ([]byte, error) { return w.device.Prekeys(), nil })
	if b, err := VerifyPrekeys(batch, "", "press-7", seeded(4).Key()); err != nil || len(b.Keys) != 4 || b.SSH != [32]byte{1} || b.RDP != [32]byte{2} {
		t.Errorf("prekeys: %+v %v", b, err)
	}

	file := golden(t, "store-file", func() []byte {
		b, err := frame([]byte("content"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
	if b, err := unframe(file); err != nil || string(b) != "content" {
		t.Errorf("file of a store: %q %v", b, err)
	}
	trust := golden(t, "trust.json", func() []byte {
		r, _ := OpenRoots(w.store, "", w.trust.Roots...)
		if err := r.Update(lists); err != nil {
			t.Fatal(err)
		}
		r.saw(3)
		b, _ := w.store.Load(trustName)
		return b
	})
	if err := w.store.Save(trustName, trust); err != nil {
		t.Fatal(err)
	}
	if r, err := OpenRoots(w.store, "", w.trust.Roots...); err != nil || r.N() != 2 || r.epoch != 3 {
		t.Errorf("stored trust: %v", err)
	}
}
