package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"

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

// bytes are the bytes of every way, out and back.
func (f *firewall) bytes() (map[way]reach.Counters, error) {
	all := make(map[way]reach.Counters, len(f.ways))
	out, err := f.nft.GetSetElements(f.sets.toDevice)
	if err != nil {
		return nil, fmt.Errorf("kernel: the set %s: %w", f.sets.toDevice.Name, err)
	}
	back, err := f.nft.GetSetElements(f.sets.fromDevice)
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

// asker reads single elements of sets, which the library has no call for.
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

// sum is the bytes that the elements with these keys counted.
func (a *asker) sum(set string, keys []tuple) (n uint64, err error) {
	if len(keys) == 0 {
		return 0, nil
	}
	e := netlink.NewAttributeEncoder()
	e.String(unix.NFTA_SET_ELEM_LIST_TABLE, a.table)
	e.String(unix.NFTA_SET_ELEM_LIST_SET, set)
	e.Nested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, func(list *netlink.AttributeEncoder) error {
		for i := range keys {
			list.Nested(uint16(i+1), func(elem *netlink.AttributeEncoder) error {
				elem.Nested(unix.NFTA_SET_ELEM_KEY, func(key *netlink.AttributeEncoder) error {
					key.Bytes(unix.NFTA_DATA_VALUE, keys[i][:])
					return nil
				})
				return nil
			})
		}
		return nil
	})
	attrs, err := e.Encode()
	if err != nil {
		return 0, err
	}
	msg := netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETSETELEM, Flags: netlink.Request | netlink.Acknowledge},
		Data:   append([]byte{a.family, unix.NFNETLINK_V0, 0, 0}, attrs...),
	}
	if _, err := a.conn.Send(msg); err != nil {
		return 0, err
	}
	for {
		replies, err := a.conn.Receive()
		if err != nil {
			return n, err
		}
		for _, r := range replies {
			if r.Header.Type == netlink.Error {
				return n, nil // the acknowledgement, of no error
			}
			n += counterBytes(r.Data)
		}
	}
}

// counterBytes walks one reply to the bytes of its element's counter.
func counterBytes(b []byte) (n uint64) {
	if len(b) < 4 {
		return 0
	}
	var walk func(b []byte, path []uint16)
	walk = func(b []byte, path []uint16) {
		d, err := netlink.NewAttributeDecoder(b)
		if err != nil {
			return
		}
		d.ByteOrder = binary.BigEndian
		for d.Next() {
			switch {
			case path[0] != anyType && d.Type() != path[0]:
			case len(path) > 1:
				walk(d.Bytes(), path[1:])
			case len(d.Bytes()) == 8:
				n += binary.BigEndian.Uint64(d.Bytes())
			}
		}
	}
	walk(b[4:], []uint16{unix.NFTA_SET_ELEM_LIST_ELEMENTS, anyType, unix.NFTA_SET_ELEM_EXPR, unix.NFTA_EXPR_DATA, unix.NFTA_COUNTER_BYTES})
	return n
}

const anyType = 0xffff

func (a *asker) close() error {
	if err := a.conn.Close(); err != nil && !errors.Is(err, unix.EBADF) {
		return err
	}
	return nil
}
