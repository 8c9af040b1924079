package keys

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// holder has keys where careless code has them.
type holder struct {
	hidden   PrivateKey
	Shown    PrivateKey
	pointer  *PrivateKey
	list     []PrivateKey
	table    map[string]PrivateKey
	any      any
	identity *Identity
	Identity Identity
}

// TestPrivateKeyDoesNotPrint looks for the bytes, in every notation, in what
// formatting verbs, encoders and loggers make of keys and of what holds them.
func TestPrivateKeyDoesNotPrint(t *testing.T) {
	k := NewPrivateKey()
	var bare [32]byte
	k.with(func(b *[32]byte) { bare = *b })
	id := seeded(0xA7)
	h := holder{k, k, &k, []PrivateKey{k}, map[string]PrivateKey{"k": k}, k, id, *id}
	seed := bytes.Repeat([]byte{0xA7}, 32)
	var leaks []string
	for _, secret := range [][]byte{bare[:], seed} {
		// The first ten bytes in each notation are enough to tell.
		p := secret[:10]
		leaks = append(leaks, string(p), hex.EncodeToString(p), strings.ToUpper(hex.EncodeToString(p)),
			base64.StdEncoding.EncodeToString(secret)[:12], base64.URLEncoding.EncodeToString(secret)[:12],
			strings.Trim(fmt.Sprint(p), "[]"), strings.Trim(strings.ReplaceAll(fmt.Sprint(p), " ", ","), "[]"),
			strings.TrimPrefix(strings.TrimSuffix(fmt.Sprintf("%#v", p), "}"), "[]byte{"),
			fmt.Sprintf("% x", p), fmt.Sprintf("% X", p), strings.Trim(fmt.Sprintf("%o", p), "[]"),
			strings.Trim(fmt.Sprintf("%b", p), "[]"), strings.Trim(fmt.Sprintf("%q", p), `"`), strings.Trim(fmt.Sprintf("%#x", p[:1]), "[]")+hex.EncodeToString(p[1:]))
	}
	check := func(how, out string) {
		t.Helper()
		for _, l := range leaks {
			if strings.Contains(out, l) {
				t.Errorf("%s leaks %q: %s", how, l, out)
			}
		}
	}
	values := []any{k, &k, h, &h, []holder{h}, map[string]any{"h": h}, []any{k}, struct{ k PrivateKey }{k}, id, *id,
		fmt.Errorf("key %v", k), errors.Join(fmt.Errorf("%+v", h))}
	for _, v := range values {
		for _, verb := range strings.Fields("%v %+v %#v %s %q %x %X %d %o %b %c %U %t %e %g %p %T %08v %w % x %#x %10.3s") {
			check(verb, fmt.Sprintf(verb, v))
		}
		check("Sprint", fmt.Sprint(v))
		b, _ := json.Marshal(v)
		check("json", string(b))
		var out bytes.Buffer
		for _, sh := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(sh).Info("x", "v", v)
		}
		for _, enc := range []zapcore.Encoder{zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig())} {
			z := zap.New(zapcore.NewCore(enc, zapcore.AddSync(&out), zap.DebugLevel))
			z.Info("x", zap.Any("v", v), zap.Reflect("r", v))
			z.Sugar().Infow("x", "v", v)
			z.Sugar().Infof("%+v", v)
		}
		check("loggers", out.String())
	}
	if reflect.TypeFor[PrivateKey]().Comparable() {
		t.Error("== compiles")
	}
	if !strings.Contains(fmt.Sprint(bare), leaks[5]) {
		t.Error("this test cannot fail")
	}
}

func TestPrivateKey(t *testing.T) {
	k := NewPrivateKey()
	same, err := ParsePrivateKey(k.Expose())
	if err != nil {
		t.Fatal(err)
	}
	if !same.Equal(k) || same.Public() != k.Public() || k.IsZero() || k.Public().IsZero() || NewPrivateKey().Equal(k) {
		t.Error("a key is not itself")
	}
	copied := k
	k.Erase()
	if !copied.IsZero() || !copied.Public().IsZero() || copied.Equal(same) || same.IsZero() {
		t.Error("Erase did not reach the copy, or reached too far")
	}
	var none PrivateKey
	none.Erase()
	if !none.IsZero() || !none.Public().IsZero() || !none.Equal(k) || none.Expose() != k.Expose() {
		t.Error("the zero key is a key")
	}
	for _, bad := range []string{"", "x", strings.Repeat("A", 44), strings.Repeat("A", 43), strings.Repeat("A", 42) + "==", strings.Repeat("A", 42) + "B=", same.Expose() + "\n"} {
		if _, err := ParsePrivateKey(bad); err == nil {
			t.Errorf("parsed %q", bad)
		} else if bad != "" && strings.Contains(err.Error(), bad+" ") {
			t.Errorf("the error shows the text: %v", err)
		}
	}
}

// TestX25519 is RFC 7748 section 6.1.
func TestX25519(t *testing.T) {
	unhex := func(s string) (b [32]byte) {
		if _, err := hex.Decode(b[:], []byte(s)); err != nil {
			t.Fatal(err)
		}
		return b
	}
	bytes := unhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
	alice := hide(&bytes)
	if bytes != [32]byte{} {
		t.Error("hide left the bytes behind")
	}
	if alice.Public() != unhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a") {
		t.Error("public key")
	}
	got, err := alice.shared(unhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"))
	if err != nil || [32]byte(got) != unhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742") {
		t.Errorf("shared secret: %v", err)
	}
	if _, err := alice.shared(PublicKey{}); err == nil {
		t.Error("a point of low order")
	}
	alice.Erase()
	if _, err := alice.shared(fixed(1).Public()); err == nil {
		t.Error("an erased key")
	}
}

func TestPublicText(t *testing.T) {
	k := NewPrivateKey().Public()
	var back PublicKey
	if b, err := k.MarshalText(); err != nil || back.UnmarshalText(b) != nil || back != k {
		t.Error("a public key does not come back")
	}
	id := seeded(1).Key()
	var idBack IdentityKey
	if b, err := id.MarshalText(); err != nil || idBack.UnmarshalText(b) != nil || idBack != id {
		t.Error("an identity key does not come back")
	}
	for _, bad := range []string{"x", strings.Repeat("A", 43) + "=", k.String() + "\n"} {
		if back.UnmarshalText([]byte(bad)) == nil || idBack.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("parsed %q", bad)
		}
	}
	if back.UnmarshalText(nil) != nil || !back.IsZero() || back.String() != "" {
		t.Error("the empty text is not the zero key")
	}
}

// TestSmallOrder shows for each refused key that crypto/ed25519 alone would
// take a signature that nobody made: S = 0 and R = a point of small order.
func TestSmallOrder(t *testing.T) {
	unhex := func(s string) [32]byte { b, _ := hex.DecodeString(s); return [32]byte(b) }
	weak := [][32]byte{{}, {1},
		unhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
		unhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
		unhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
		unhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
		unhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")}
	for i := range weak {
		signed := weak[i]
		signed[31] |= 0x80
		weak = append(weak, signed)
	}
	fooled := 0
	for _, key := range weak {
		if !smallOrder(key) {
			t.Errorf("%x is taken", key)
		}
		if _, err := ParseIdentityKey(base64.StdEncoding.EncodeToString(key[:])); err == nil {
			t.Errorf("%x is parsed", key)
		}
	search:
		for m := range 64 {
			for _, r := range weak {
				msg := binary.BigEndian.AppendUint32(nil, uint32(m))
				sig := append(r[:], make([]byte, 32)...)
				if ed25519.Verify(key[:], msg, sig) {
					fooled++
					if (&jws{signed: msg, sig: sig}).by(key) == nil {
						t.Errorf("%x verifies", key)
					}
					break search
				}
			}
		}
	}
	if fooled < 8 {
		t.Errorf("only %d of the refused keys are weak", fooled)
	}
	for i := range byte(64) {
		if smallOrder(seeded(i).Key()) {
			t.Errorf("a good key is refused")
		}
	}
}

func TestIdentity(t *testing.T) {
	store := NewMemory()
	a, err := OpenIdentity(store, "identity")
	if err != nil {
		t.Fatal(err)
	}
	b, err := OpenIdentity(store, "identity")
	if err != nil || a.Key() != b.Key() {
		t.Fatalf("another identity the second time: %v", err)
	}
	sig, err := b.Sign(nil, []byte("x"), crypto.Hash(0))
	if err != nil || !ed25519.Verify(a.Public().(ed25519.PublicKey), []byte("x"), sig) {
		t.Errorf("not a crypto.Signer: %v", err)
	}
	good, _ := store.Load("identity")
	for _, bad := range []string{"", "x", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", strings.Replace(string(good), "PRIVATE KEY", "PUBLIC KEY", 2)} {
		if err := store.Save("identity", []byte(bad)); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenIdentity(store, "identity"); err == nil {
			t.Errorf("opened %q", bad)
		}
		if now, _ := store.Load("identity"); string(now) != bad {
			t.Error("a damaged identity was replaced")
		}
	}
}

// TestCertificate shakes hands with both ends' keys pinned.
func TestCertificate(t *testing.T) {
	node, control := seeded(1), seeded(2)
	config := func(own *Identity, peer IdentityKey) *tls.Config {
		cert, err := TLSCertificate(own, "wg-bj-01")
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{
			Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert, InsecureSkipVerify: true, MinVersion: tls.VersionTLS13,
			VerifyConnection: func(cs tls.ConnectionState) error {
				k, err := IdentityOf(cs.PeerCertificates[0])
				if err == nil && k != peer {
					err = errors.New("another key")
				}
				return err
			},
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	shake := func(expect IdentityKey) error {
		got := make(chan error, 1)
		go func() {
			conn, err := ln.Accept()
			if err == nil {
				defer conn.Close()
				err = tls.Server(conn, config(control, expect)).Handshake()
			}
			got <- err
		}()
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := tls.Client(conn, config(node, control.Key())).Handshake(); err != nil {
			t.Error(err)
		}
		return <-got
	}
	if err := shake(node.Key()); err != nil {
		t.Error(err)
	}
	if err := shake(seeded(3).Key()); err == nil {
		t.Error("a wrong key passed")
	}
	if _, err := IdentityOf(nil); err == nil {
		t.Error("no certificate passed")
	}
}
