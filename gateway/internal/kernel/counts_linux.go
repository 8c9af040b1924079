package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/boothwire/boothwire/gateway/internal/reach"
)

// counted are the packets that the rules counted, by reason.
func (f *firewall) counted() (map[string]uint64, error) {
	sum := make(map[string]uint64)
	for _, name := range []string{chainFromDevice, chainFromOperator, chainGuard, chainSpeak} {
		list, err := f.nft.GetRules(f.table, &nftables.Chain{Name: name, Table: f.table})
		if err != nil {
			return nil, fmt.Errorf("kernel: the rules of %s: %w", name, err)
		}
		for _, r := range list {
			why, ok := userdata.GetString(r.UserData, userdata.TypeComment)
			if !ok || name == chainSpeak && why == reach.Answer.String() {
				continue // was counted as it came
			}
			for _, e := range r.Exprs {
				if c, ok := e.(*expr.Counter); ok {
					sum[why] += c.Packets
				}
			}
		}
	}
	return sum, nil
}

// dump reads a set by a connection of its own, beside those who change it: what is
// changed meanwhile may be missing.
func (f *firewall) dump(s *nftables.Set) ([]nftables.SetElement, error) {
	nft, err := nftables.New()
	if err != nil {
		return nil, err
	}
	return nft.GetSetElements(s)
}

// bytes are the bytes of every way, out and back, as dump finds them.
func (f *firewall) bytes() (map[way]reach.Counters, error) {
	all := make(map[way]reach.Counters)
	out, err := f.dump(f.sets.toDevice)
	if err != nil {
		return nil, fmt.Errorf("kernel: the set %s: %w", f.sets.toDevice.Name, err)
	}
	back, err := f.dump(f.sets.fromDevice)
	if err != nil {
		return nil, fmt.Errorf("kernel: the set %s: %w", f.sets.fromDevice.Name, err)
	}
	for _, e := range out {
		if w, ok := wayOf(e.Key); ok && e.Counter != nil {
			c := all[w]
			c.Tx = e.Counter.Bytes
			all[w] = c
		}
	}
	for _, e := range back {
		if w, ok := wayOf(e.Key); ok && e.Counter != nil {
			w.operator, w.device = w.device, w.operator
			c := all[w]
			c.Rx = e.Counter.Bytes
			all[w] = c
		}
	}
	return all, nil
}

// asker reads single elements of sets, which the library has no call for. One call at
// a time: whoever must not wait for another's questions has one of his own.
type asker struct {
	conn   *netlink.Conn
	table  string
	family byte
}

func newAsker(f *firewall) (*asker, error) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("kernel: netlink: %w", err)
	}
	return &asker{conn: c, table: f.table.Name, family: byte(f.table.Family)}, nil
}

// element is one of a set that counts.
type element struct {
	key            []byte
	packets, bytes uint64
}

// perQuestion bounds the elements of one question: each comes in a message of its
// own, and where they do not all fit into the socket's buffer the kernel begins its
// answer again, for ever.
const perQuestion = 16

// read returns the elements of a set with these keys. Of a question in which one is
// not there it misses some, and says so at the end.
func (a *asker) read(set string, keys [][]byte) (list []element, err error) {
	for part := range slices.Chunk(keys, perQuestion) {
		var failed error
		if list, failed = a.readPart(list, set, part); failed != nil {
			err = fmt.Errorf("kernel: the set %s: %w", set, failed)
		}
	}
	return list, err
}

func (a *asker) readPart(list []element, set string, keys [][]byte) ([]element, error) {
	e := netlink.NewAttributeEncoder()
	e.String(unix.NFTA_SET_ELEM_LIST_TABLE, a.table)
	e.String(unix.NFTA_SET_ELEM_LIST_SET, set)
	e.Nested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, func(all *netlink.AttributeEncoder) error {
		for i, key := range keys {
			all.Nested(uint16(i+1), func(one *netlink.AttributeEncoder) error {
				one.Nested(unix.NFTA_SET_ELEM_KEY, func(k *netlink.AttributeEncoder) error {
					k.Bytes(unix.NFTA_DATA_VALUE, key)
					return nil
				})
				return nil
			})
		}
		return nil
	})
	attrs, err := e.Encode()
	if err != nil {
		return list, err
	}
	msg := netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETSETELEM, Flags: netlink.Request | netlink.Acknowledge},
		Data:   append([]byte{a.family, unix.NFNETLINK_V0, 0, 0}, attrs...),
	}
	if _, err := a.conn.Send(msg); err != nil {
		return list, err
	}
	for {
		replies, err := a.conn.Receive()
		if err != nil {
			return list, err
		}
		for _, r := range replies {
			if r.Header.Type == netlink.Error {
				return list, nil // the acknowledgement, of no error
			}
			list = append(list, elementsOf(r.Data)...)
		}
	}
}

// elementsOf reads one reply.
func elementsOf(b []byte) (list []element) {
	if len(b) < 4 {
		return nil
	}
	nested(b[4:], unix.NFTA_SET_ELEM_LIST_ELEMENTS, func(all []byte) {
		nested(all, anyType, func(one []byte) {
			var e element
			nested(one, unix.NFTA_SET_ELEM_KEY, func(k []byte) {
				nested(k, unix.NFTA_DATA_VALUE, func(v []byte) { e.key = v })
			})
			nested(one, unix.NFTA_SET_ELEM_EXPR, func(x []byte) {
				nested(x, unix.NFTA_EXPR_DATA, func(c []byte) {
					nested(c, unix.NFTA_COUNTER_BYTES, func(v []byte) { e.bytes = number(v) })
					nested(c, unix.NFTA_COUNTER_PACKETS, func(v []byte) { e.packets = number(v) })
				})
			})
			list = append(list, e)
		})
	})
	return list
}

const anyType = 0xffff

// nested calls f with the value of each attribute of a type.
func nested(b []byte, kind uint16, f func(value []byte)) {
	d, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return
	}
	for d.Next() {
		if kind == anyType || d.Type() == kind {
			f(d.Bytes())
		}
	}
}

func number(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func (a *asker) close() error {
	if err := a.conn.Close(); err != nil && !errors.Is(err, unix.EBADF) {
		return err
	}
	return nil
}
