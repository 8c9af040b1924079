package rdcleanpath

import (
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

const (
	Version  = 3390
	MaxSize  = 64 << 10 // bytes of a PDU
	maxChain = 8        // certificates of a chain
)

// What kind of error a proxy reports.
const (
	General     = 1
	Negotiation = 2 // X224 has the server's refusal
)

// ErrPDU is what is no PDU of this version.
var ErrPDU = errors.New("rdcleanpath: not a PDU")

// A PDU is what either side says. The browser fills Destination, ProxyAuth and X224;
// the proxy X224, Chain and Server, or Error.
type PDU struct {
	Error       *Error
	Destination string
	ProxyAuth   string // a secret
	ServerAuth  string
	Blob        string // for a broker of virtual machines
	X224        []byte
	Chain       [][]byte // DER, leaf first
	Server      string
}

// An Error is why the proxy did not connect. Of HTTP, WSA and Alert what is zero was
// not said.
type Error struct {
	Kind  int // General or Negotiation
	HTTP  int // status
	WSA   int // error of Winsock
	Alert int // of TLS
}

// String leaves out what is secret.
func (p PDU) String() string {
	return fmt.Sprintf("rdcleanpath: error %v, destination %q, %d bytes of X.224, %d certificates",
		p.Error, p.Destination, len(p.X224), len(p.Chain))
}

// Format keeps every verb from printing the secret.
func (p PDU) Format(f fmt.State, _ rune) { io.WriteString(f, p.String()) }

// Read takes one PDU of at most MaxSize bytes from r and reads no further.
func Read(r io.Reader) (*PDU, error) {
	// No PDU that says anything is shorter than the first four bytes.
	b := make([]byte, 4, 512)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("rdcleanpath: read: %w", err)
	}
	size, err := total(b)
	if err != nil {
		return nil, err
	}
	b = append(b, make([]byte, size-len(b))...)
	if _, err := io.ReadFull(r, b[4:]); err != nil {
		return nil, fmt.Errorf("rdcleanpath: read: %w", err)
	}
	return Parse(b)
}

// total is the size of the SEQUENCE that begins with four bytes.
func total(b []byte) (int, error) {
	if b[0] != 0x30 {
		return 0, ErrPDU
	}
	size := 0
	switch n := int(b[1]); {
	case n < 0x80:
		size = 2 + n
	case n == 0x81:
		size = 3 + int(b[2])
	case n == 0x82:
		size = 4 + int(b[2])<<8 + int(b[3])
	default:
		return 0, fmt.Errorf("%w: longer than %d bytes", ErrPDU, MaxSize)
	}
	switch {
	case size < 4:
		return 0, ErrPDU
	case size > MaxSize:
		return 0, fmt.Errorf("%w: longer than %d bytes", ErrPDU, MaxSize)
	}
	return size, nil
}

// explicit is the tag around field n.
func explicit(n asn1.Tag) asn1.Tag { return n.ContextSpecific().Constructed() }

// Parse takes apart the one PDU that is b. What it returns shares no memory with b.
func Parse(b []byte) (*PDU, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrPDU, MaxSize)
	}
	var p PDU
	var version int
	in, d := cryptobyte.String(b), decoder{}
	if !in.ReadASN1(&d.s, asn1.SEQUENCE) || !in.Empty() {
		return nil, ErrPDU
	}
	d.integer(0, &version)
	d.failure(1, &p.Error)
	d.text(2, &p.Destination)
	d.text(3, &p.ProxyAuth)
	d.text(4, &p.ServerAuth)
	d.text(5, &p.Blob)
	d.octets(6, &p.X224)
	d.chain(7, &p.Chain)
	d.text(9, &p.Server)
	switch {
	case d.bad || !d.s.Empty():
		return nil, ErrPDU
	case version != Version:
		return nil, fmt.Errorf("%w: version %d", ErrPDU, version)
	}
	return &p, nil
}

// A decoder reads optional fields in their order; bad says that one was not right.
type decoder struct {
	s   cryptobyte.String
	bad bool
}

// field returns what stands in field n, if it is there.
func (d *decoder) field(n asn1.Tag) (cryptobyte.String, bool) {
	var v cryptobyte.String
	var there bool
	if !d.bad && !d.s.ReadOptionalASN1(&v, &there, explicit(n)) {
		d.bad = true
	}
	return v, there && !d.bad
}

// inside returns the one element with the given tag that field n consists of.
func (d *decoder) inside(n, tag asn1.Tag) (cryptobyte.String, bool) {
	v, there := d.field(n)
	if !there {
		return nil, false
	}
	var body cryptobyte.String
	if !v.ReadASN1(&body, tag) || !v.Empty() || body.Empty() {
		d.bad = true
		return nil, false
	}
	return body, true
}

func (d *decoder) integer(n asn1.Tag, out *int) {
	v, there := d.field(n)
	if there && (!v.ReadASN1Integer(out) || !v.Empty() || *out <= 0) {
		d.bad = true
	}
}

func (d *decoder) text(n asn1.Tag, out *string) {
	if body, there := d.inside(n, asn1.UTF8String); there {
		*out = string(body)
		d.bad = !utf8.Valid(body)
	}
}

func (d *decoder) octets(n asn1.Tag, out *[]byte) {
	if body, there := d.inside(n, asn1.OCTET_STRING); there {
		*out = append([]byte(nil), body...)
	}
}

func (d *decoder) chain(n asn1.Tag, out *[][]byte) {
	body, there := d.inside(n, asn1.SEQUENCE)
	for there && !body.Empty() {
		var cert cryptobyte.String
		if !body.ReadASN1(&cert, asn1.OCTET_STRING) || cert.Empty() || len(*out) == maxChain {
			d.bad = true
			return
		}
		*out = append(*out, append([]byte(nil), cert...))
	}
}

func (d *decoder) failure(n asn1.Tag, out **Error) {
	body, there := d.inside(n, asn1.SEQUENCE)
	if !there {
		return
	}
	e, in := Error{}, decoder{s: body}
	in.integer(0, &e.Kind)
	in.integer(1, &e.HTTP)
	in.integer(2, &e.WSA)
	in.integer(3, &e.Alert)
	*out = &e
	d.bad = in.bad || !in.s.Empty() || e.Kind == 0
}

// Append appends the PDU to dst. It fails only for one that Parse would refuse.
func (p *PDU) Append(dst []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		integer(b, 0, Version)
		if e := p.Error; e != nil {
			b.AddASN1(explicit(1), func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					for n, v := range []int{e.Kind, e.HTTP, e.WSA, e.Alert} {
						integer(b, asn1.Tag(n), v)
					}
				})
			})
		}
		octets(b, 2, asn1.UTF8String, []byte(p.Destination))
		octets(b, 3, asn1.UTF8String, []byte(p.ProxyAuth))
		octets(b, 4, asn1.UTF8String, []byte(p.ServerAuth))
		octets(b, 5, asn1.UTF8String, []byte(p.Blob))
		octets(b, 6, asn1.OCTET_STRING, p.X224)
		if len(p.Chain) > 0 {
			b.AddASN1(explicit(7), func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					for _, cert := range p.Chain {
						b.AddASN1OctetString(cert)
					}
				})
			})
		}
		octets(b, 9, asn1.UTF8String, []byte(p.Server))
	})
	out, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("rdcleanpath: write: %w", err)
	}
	if _, err := Parse(out); err != nil {
		return nil, err
	}
	return append(dst, out...), nil
}

func integer(b *cryptobyte.Builder, n asn1.Tag, v int) {
	if v != 0 {
		b.AddASN1(explicit(n), func(b *cryptobyte.Builder) { b.AddASN1Int64(int64(v)) })
	}
}

func octets(b *cryptobyte.Builder, n, tag asn1.Tag, v []byte) {
	if len(v) > 0 {
		b.AddASN1(explicit(n), func(b *cryptobyte.Builder) {
			b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(v) })
		})
	}
}
