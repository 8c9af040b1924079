package mqtt

import "fmt"

// MQTT 5.0 control packet types, section 2.1.2.
const (
	typeConnack    = 2
	typePublish    = 3
	typePuback     = 4
	typeSuback     = 9
	typeUnsuback   = 11
	typePingresp   = 13
	typeDisconnect = 14
)

// expected are the packets that a broker may send to a client of ours: we publish
// and subscribe at QoS 1 and never start an enhanced authentication.
const expected = 1<<typeConnack | 1<<typePublish | 1<<typePuback | 1<<typeSuback |
	1<<typeUnsuback | 1<<typePingresp | 1<<typeDisconnect

// reasonNone is no reason code of MQTT.
const reasonNone = 0xff

// An inspector follows the fixed headers of a broker's packets (section 2.1) and
// finds the first byte that breaks a rule of ours, before a parser sees it:
//
//	+--------+---------------------------+--------------------+
//	| type 4 | remaining length, 1..4 B  | remaining bytes    |
//	| flags 4| 7 bits each, low first    |                    |
//	+--------+---------------------------+--------------------+
//	  head     length                      body
//
// It is pure: bytes in, a verdict out.
type inspector struct {
	state  inspectState
	kind   byte
	shift  uint
	left   int  // of the remaining length, or of the body
	first  bool // the next byte of the body is its first
	reason byte // of the broker's DISCONNECT, or reasonNone
}

type inspectState uint8

const (
	inHead inspectState = iota
	inLength
	inBody
)

func newInspector() inspector { return inspector{reason: reasonNone} }

// inspect returns how many leading bytes of p are fine, and why the next is not.
func (i *inspector) inspect(p []byte) (int, error) {
	for n := 0; n < len(p); {
		switch b := p[n]; i.state {
		case inHead:
			i.kind = b >> 4
			if expected&(1<<i.kind) == 0 {
				return n, fmt.Errorf("mqtt: broker sent a packet of type %d", i.kind)
			}
			if i.kind == typePublish && b>>1&3 > 1 {
				return n, fmt.Errorf("mqtt: broker sent QoS %d, subscribed was 1", b>>1&3)
			}
			i.state, i.shift, i.left = inLength, 0, 0
			n++
		case inLength:
			i.left |= int(b&0x7f) << i.shift
			i.shift += 7
			switch {
			case i.left > maxPacket:
				return n, fmt.Errorf("mqtt: broker sent a packet of more than %d bytes", maxPacket)
			case b&0x80 == 0 && i.left == 0:
				i.state = inHead
			case b&0x80 == 0:
				i.state, i.first = inBody, true
			case i.shift > 21:
				return n, fmt.Errorf("mqtt: broker sent a length of more than 4 bytes")
			}
			n++
		case inBody:
			if i.first && i.kind == typeDisconnect {
				i.reason = b
			}
			i.first = false
			skip := min(i.left, len(p)-n)
			i.left -= skip
			n += skip
			if i.left == 0 {
				i.state = inHead
			}
		}
	}
	return len(p), nil
}
