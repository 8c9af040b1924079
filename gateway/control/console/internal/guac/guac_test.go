package guac

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

func TestInstructions(t *testing.T) {
	for want, elements := range map[string][]string{
		"4.size,4.1024,3.768,2.96;": {"size", "1024", "768", "96"},
		"0.,4.ping,2.12;":           {"", "ping", "12"},
		"3.nop;":                    {"nop"},
		"4.name,2.你好,1.é,1.😀;":      {"name", "你好", "é", "😀"},
		"1.;,1.,;":                  {";", ","},
		"12.a.b,c;d.e.f.,0.;":       {"a.b,c;d.e.f.", ""},
	} {
		if b := Append(nil, elements...); string(b) != want {
			t.Errorf("%q is written as %s, want %s", elements, b, want)
		}
		for cut := range len(want) {
			if got, n, err := Next([]byte(want[:cut])); n != 0 || got != nil || err != nil {
				t.Fatalf("%d bytes of %s: %q, %d, %v", cut, want, got, n, err)
			}
		}
		got, n, err := Next([]byte(want + "3.nop;"))
		if err != nil || n != len(want) || !slices.Equal(texts(got), elements) {
			t.Errorf("%s: %q, %d, %v", want, texts(got), n, err)
		}
	}
}

func TestNoInstructions(t *testing.T) {
	for name, s := range map[string]string{
		"no length":        ".a;",
		"a name":           "nop;",
		"a sign":           "-1.a;",
		"a leading zero":   "03.nop;",
		"a long length":    "000003.nop;",
		"six digits":       "123456.a",
		"no end":           "3.nopx;",
		"a short length":   "2.nop;",
		"no UTF-8":         "1.\xff;",
		"a surrogate":      "1.\xed\xa0\x80;",
		"HTTP":             "GET / HTTP/1.1\r\n\r\n",
		"too many":         strings.Repeat("0.,", MaxElements) + "0.;",
		"too long":         "99999." + strings.Repeat("a", MaxInstruction),
		"too long, whole":  "65536." + strings.Repeat("a", 1<<16) + ";",
		"too long in sums": "40000." + strings.Repeat("a", 40000) + ",40000." + strings.Repeat("a", 40000) + ";",
	} {
		if got, n, err := Next([]byte(s)); err == nil || n != 0 {
			t.Errorf("%s: %q, %d, %v", name, texts(got), n, err)
		}
	}
}

func TestPlain(t *testing.T) {
	const in = "4.name,2.a😀,1.é;"
	if got := Plain([]byte(in), 1); string(got) != "4.name,2.a\ufffd,1.é;" {
		t.Errorf("for a browser: %s", got)
	}
	// As a browser counts: two for the one.
	if got := Plain([]byte("4.name,3.a😀,1.é;"), 2); string(got) != "4.name,3.a\ufffd\ufffd,1.é;" {
		t.Errorf("from a browser: %s", got)
	}
	b := []byte("4.name,2.你好;")
	if got := Plain(b, 1); &got[0] != &b[0] {
		t.Error("what is plain was copied")
	}
}

func TestMaySend(t *testing.T) {
	for _, op := range []string{"mouse", "key", "sync", "ack", "size", "clipboard", "blob", "end", "file", "pipe", "nop", "disconnect"} {
		if !MaySend([]byte(op)) {
			t.Errorf("%s may not be sent", op)
		}
	}
	for _, op := range []string{"", "select", "connect", "argv", "args", "require", "error", "img", "Key", "key "} {
		if MaySend([]byte(op)) {
			t.Errorf("%q may be sent", op)
		}
	}
}

func TestFramesAreWhole(t *testing.T) {
	long := string(Append(nil, "blob", "1", strings.Repeat("a", frameSize)))
	in := "3.nop;4.sync,1.1;" + long + "4.name,1.你;"
	for name, r := range map[string]io.Reader{
		"at once":   strings.NewReader(in),
		"by halves": iotest.HalfReader(strings.NewReader(in)),
		"by bytes":  iotest.OneByteReader(strings.NewReader(in)),
	} {
		var got strings.Builder
		frames := NewReader(r)
		for {
			f, err := frames.Frame()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for rest := f; len(rest) > 0; {
				_, n, err := Next(rest)
				if n == 0 || err != nil {
					t.Fatalf("%s: the frame %.40q is cut", name, f)
				}
				rest = rest[n:]
			}
			got.Write(f)
		}
		if got.String() != in {
			t.Errorf("%s: %.40q came through", name, got.String())
		}
	}
	if _, err := NewReader(strings.NewReader("3.no")).Frame(); err != io.ErrUnexpectedEOF {
		t.Errorf("a cut stream ends with %v", err)
	}
	if _, err := NewReader(io.MultiReader(strings.NewReader("65000."), bytes.NewReader(make([]byte, 1<<20)))).Frame(); !errors.Is(err, ErrInstruction) {
		t.Errorf("an endless instruction ends with %v", err)
	}
}

// say is what guacd answers with; said what the client wrote.
func join(say string, arguments map[string]string) (id, said string, err error) {
	var w bytes.Buffer
	id, err = Join(&w, NewReader(strings.NewReader(say)), "rdp", arguments, Screen{Width: 1280, Height: 720, DPI: 96, Timezone: "Asia/Shanghai", Name: "ann"})
	return id, w.String(), err
}

func TestJoin(t *testing.T) {
	id, said, err := join("4.args,13.VERSION_1_5_0,8.hostname,5.color,4.port;3.nop;5.ready,5.$uuid;", map[string]string{"port": "3389", "hostname": "127.0.0.1", "unset": ""})
	want := "6.select,3.rdp;4.size,4.1280,3.720,2.96;5.audio;5.video;5.image,9.image/png,10.image/jpeg;8.timezone,13.Asia/Shanghai;4.name,3.ann;" +
		"7.connect,13.VERSION_1_5_0,9.127.0.0.1,0.,4.3389;"
	if err != nil || id != "$uuid" || said != want {
		t.Errorf("%q, %v, said\n%s, want\n%s", id, err, said, want)
	}
}

func TestJoinFails(t *testing.T) {
	for name, say := range map[string]string{
		"silence":           "",
		"no version":        "4.args,8.hostname;",
		"nothing to set":    "4.args;",
		"another word":      "4.sync,1.0;",
		"no name":           "4.args,13.VERSION_1_5_0,8.hostname;5.ready;",
		"a long name":       "4.args,13.VERSION_1_5_0,8.hostname;5.ready,65." + strings.Repeat("a", 65) + ";",
		"no pin in release": "4.args,13.VERSION_1_5_0,4.port;5.ready,1.a;",
	} {
		if id, _, err := join(say, map[string]string{"hostname": "127.0.0.1"}); err == nil {
			t.Errorf("%s: joined %q", name, id)
		}
	}
	_, _, err := join("5.error,7.Aborted,3.519;", nil)
	if e, ok := errors.AsType[*Error](err); !ok || !reflect.DeepEqual(*e, Error{"Aborted", 519}) {
		t.Errorf("guacd's error comes as %v", err)
	}
	if _, said, _ := join("4.args,13.VERSION_1_5_0,4.port;", map[string]string{"cert-fingerprints": "ab"}); strings.Contains(said, "connect") {
		t.Errorf("a pin that guacd does not know was left out: %s", said)
	}
}

// What is taken is written the same way, and stays whole when it is made plain.
func FuzzNext(f *testing.F) {
	f.Add([]byte("4.size,4.1024,3.768,2.96;"))
	f.Add([]byte("0.,4.ping,2.12;3.nop;"))
	f.Add([]byte("4.name,2.你好,1.é,1.😀;"))
	f.Add([]byte("03.nop;"))
	f.Fuzz(func(t *testing.T, b []byte) {
		elements, n, err := Next(b)
		if err != nil || n == 0 {
			if elements != nil || n != 0 {
				t.Fatalf("%q, %d, %v", elements, n, err)
			}
			return
		}
		if out := Append(nil, texts(elements)...); !bytes.Equal(out, b[:n]) {
			t.Fatalf("%q is written as %q", b[:n], out)
		}
		plain := Plain(b[:n], 1)
		again, m, err := Next(plain)
		if err != nil || m != len(plain) || len(again) != len(elements) {
			t.Fatalf("%q is made plain as %q: %v", b[:n], plain, err)
		}
		for _, r := range string(plain) {
			if r > 0xffff {
				t.Fatalf("%q is not plain", plain)
			}
		}
	})
}

// Whatever guacd says in the handshake.
func FuzzJoin(f *testing.F) {
	f.Add([]byte("4.args,13.VERSION_1_5_0,8.hostname,5.color,4.port;5.ready,5.$uuid;"))
	f.Add([]byte("5.error,7.Aborted,3.519;"))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, said, err := join(string(b), map[string]string{"hostname": "h"})
		if err == nil && (id == "" || !utf8.ValidString(id) || !strings.Contains(said, ",1.h")) {
			t.Fatalf("joined %q, said %s", id, said)
		}
	})
}

func TestSift(t *testing.T) {
	pass, reply, err := Sift([]byte("3.key,2.65,1.1;0.,4.ping,2.12;5.mouse,1.1,1.2,1.0;0.,5.other,1.1;"))
	if string(pass) != "3.key,2.65,1.1;5.mouse,1.1,1.2,1.0;" || string(reply) != "0.,4.ping,2.12;" || err != nil {
		t.Errorf("%s, %s, %v", pass, reply, err)
	}
	for _, s := range []string{"3.key,2.65,1.1;7.connect,1.a;", "6.select,3.rdp;", "3.key,2.65", "x", "3.key,2.65,1.1;4.argv"} {
		if pass, reply, err := Sift([]byte(s)); err == nil || pass != nil || reply != nil {
			t.Errorf("%s passes as %s, %s", s, pass, reply)
		}
	}
}

// Whatever a browser sends, guacd gets whole instructions that a browser may send.
func FuzzSift(f *testing.F) {
	f.Add([]byte("3.key,2.65,1.1;0.,4.ping,2.12;5.mouse,1.1,1.2,1.0;"))
	f.Add([]byte("4.blob,1.1,4.aGk=;6.select,3.rdp;"))
	f.Add([]byte("4.file,1.1,10.text/plain,6.😀.txt;"))
	f.Fuzz(func(t *testing.T, b []byte) {
		pass, reply, err := Sift(Plain(b, 2))
		if err != nil && (pass != nil || reply != nil) {
			t.Fatalf("%q was refused and passes as %q, %q", b, pass, reply)
		}
		for rest := pass; len(rest) > 0; {
			elements, n, err := Next(rest)
			if err != nil || n == 0 || !MaySend(elements[0]) {
				t.Fatalf("%q passes as %q", b, pass)
			}
			rest = rest[n:]
		}
	})
}
