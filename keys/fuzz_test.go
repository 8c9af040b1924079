package keys

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

// seeds adds the golden messages, and those in every kind of disorder.
func seeds(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "v1", "*"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no golden messages: %v", err)
	}
	for _, p := range files {
		b, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	for _, s := range []string{"", ".", "..", "...", "e30.e30.", "e30.e30.AA", `{"lists":["..",".."]}`} {
		f.Add([]byte(s))
	}
}

// named fails unless err is nil or a refusal with its reason.
func named(t *testing.T, err error) {
	t.Helper()
	var e *GrantError
	if err != nil && (!errors.As(err, &e) || e.Reason == "") {
		t.Fatalf("a refusal without a reason: %v", err)
	}
}

func FuzzJWS(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		tok, err := split(b)
		named(t, err)
		if err != nil {
			return
		}
		// One token has one text: what was taken apart goes together again.
		last := bytes.LastIndexByte(b, '.')
		if len(tok.sig) > 0 && string(b[last+1:]) != b64.EncodeToString(tok.sig) || !bytes.HasPrefix(b, tok.signed) {
			t.Fatal("two texts for one token")
		}
		for _, typ := range []string{TypeGrant, tok.Typ} {
			_, err = parse(typ, b)
			named(t, err)
		}
		_, _, err = StatementKey(b)
		named(t, err)
	})
}

// FuzzVerify gives both verifiers anything: what they take is one of the
// golden messages, because nothing else was ever signed.
func FuzzVerify(f *testing.F) {
	seeds(f)
	roots, err := ParseRoots("", seeded(1).Key().String())
	if err != nil {
		f.Fatal(err)
	}
	var golden [][]byte
	files, _ := filepath.Glob(filepath.Join("testdata", "v1", "*.jws"))
	for _, p := range files {
		b, _ := os.ReadFile(p)
		golden = append(golden, b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, typ := range []string{TypeGrant, TypeAsk, TypeDown, TypeRenew} {
			_, err := roots.Verify(typ, b)
			named(t, err)
			if err == nil && !slices.ContainsFunc(golden, func(g []byte) bool { return bytes.Equal(g, b) }) {
				t.Fatal("a forgery passed")
			}
		}
		for _, typ := range []string{TypeStatus, TypeReply, TypeRequest, TypeAnswer, TypePrekeys} {
			_, err := VerifyStatement(typ, b, "", "press-7", seeded(4).Key())
			named(t, err)
			if err == nil && !slices.ContainsFunc(golden, func(g []byte) bool { return bytes.Equal(g, b) }) {
				t.Fatal("a forgery passed")
			}
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"iss":"boothwire","kid":"c1","key":"iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=","scope":["bw-grant"],"epoch":1}`))
	f.Add([]byte(`{}`))
	root := seeded(1)
	f.Fuzz(func(t *testing.T, payload []byte) {
		b := raw(root, `{"alg":"Ed25519","typ":"bw-signer","kid":"x"}`, string(payload))
		_, r, err := parseRecord(b)
		named(t, err)
		if err == nil {
			if _, err := SignRecord(root, *r); err != nil {
				t.Fatalf("read, but not to be signed: %v", err)
			}
		}
	})
}

func FuzzGrant(f *testing.F) {
	w := newWorld(f)
	f.Add([]byte(encode(w.grant("a", 1, fixed(1).Public()))))
	f.Add([]byte(`{"v":1}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		g, err := decodeGrant(payload)
		named(t, err)
		if err != nil {
			return
		}
		_ = g.ICESecret(fixed(1))
		again, err := decodeGrant(encode(g))
		if err != nil {
			t.Fatalf("does not come back: %v", err)
		}
		if !reflect.DeepEqual(encode(again), encode(g)) {
			t.Fatalf("comes back as another:\n%+v\n%+v", g, again)
		}
	})
}

func FuzzRoots(f *testing.F) {
	seeds(f)
	in := list(1, seeded(1))
	good := command(f, list(2, seeded(5)), seeded(1), seeded(5))
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := in.next(b)
		named(t, err)
		if err == nil && !reflect.DeepEqual(got, list(2, seeded(5))) {
			t.Fatalf("a list that nobody signed: %+v from %s", got, b)
		}
	})
}

func FuzzPrekeys(f *testing.F) {
	id := seeded(4)
	head := `{"alg":"Ed25519","typ":"bw-prekeys","kid":"` + id.Key().String() + `","iss":"boothwire","sub":"press-7","boot":"b","seq":1}`
	f.Add([]byte(`{"boot":"b","n":1,"keys":["` + fixed(1).Public().String() + `"],"ssh":"","rdp":""}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		b, err := VerifyPrekeys(raw(id, head, string(payload)), "", "press-7", id.Key())
		named(t, err)
		if err == nil && (b.Boot != "b" || len(b.Keys) == 0 || slices.Contains(b.Keys, PublicKey{})) {
			t.Fatalf("got %+v", b)
		}
	})
}

func FuzzStatement(f *testing.F) {
	id := seeded(4)
	f.Add([]byte(`{"alg":"Ed25519","typ":"bw-status","kid":"`+id.Key().String()+`","iss":"boothwire","sub":"press-7","boot":"b","seq":1}`), []byte(`{}`))
	f.Add([]byte(`{"alg":"none"}`), []byte(`{"a":[[[]]]}`))
	f.Fuzz(func(t *testing.T, head, payload []byte) {
		s, err := VerifyStatement(TypeStatus, raw(id, string(head), string(payload)), "", "press-7", id.Key())
		named(t, err)
		if err == nil && (s.Seq == 0 || !ValidID(s.Boot) || !bytes.Equal(s.Payload, payload)) {
			t.Fatalf("got %+v", s)
		}
	})
}

func FuzzStoreFile(f *testing.F) {
	seeds(f)
	f.Add([]byte("boothwire 1 plain \n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		content, err := unframe(b)
		if err != nil {
			return
		}
		if plain := []byte(frameMagic + "plain "); bytes.HasPrefix(b, plain) && !bytes.HasSuffix(b, content) {
			t.Fatalf("a file that no Save wrote: %q", b)
		}
		again, err := frame(b)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := unframe(again); err != nil || !bytes.Equal(back, b) {
			t.Fatalf("%q does not come back: %v", b, err)
		}
	})
}

func FuzzText(f *testing.F) {
	f.Add("tcp/22")
	f.Add(fixed(1).Public().String())
	f.Add("2:" + seeded(1).Key().String())
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := ParsePort(s); err == nil && p.String() != s {
			t.Fatal("port")
		}
		if k, err := ParsePublicKey(s); err == nil && k.String() != s {
			t.Fatal("public key")
		}
		if k, err := ParseIdentityKey(s); err == nil && k.String() != s {
			t.Fatal("identity key")
		}
		if k, err := ParsePrivateKey(s); err == nil && k.Expose() != s {
			t.Fatal("private key")
		}
		if r, err := ParseRoots("", s); err == nil {
			if again, err := ParseRoots("", r.List().Text()...); err != nil || again.N() != r.N() {
				t.Fatal("roots")
			}
		}
	})
}
