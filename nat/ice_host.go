package nat

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/pion/logging"
	"go.uber.org/zap"
)

// resolve returns an address of each family.
func (s server) resolve(ctx context.Context) ([]netip.AddrPort, error) {
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", s.host)
	if err != nil {
		return nil, err
	}
	var list []netip.AddrPort
	var v4, v6 bool
	for _, ip := range ips {
		ip = ip.Unmap()
		if ip.Is4() && v4 || ip.Is6() && v6 {
			continue
		}
		v4, v6 = v4 || ip.Is4(), v6 || ip.Is6()
		list = append(list, netip.AddrPortFrom(ip, s.port))
	}
	return list, nil
}

// broadcasts are the addresses of all hosts of networks that the host is in.
func broadcasts(nets []net.Addr) (list []netip.Prefix) {
	for _, n := range nets {
		p, err := netip.ParsePrefix(n.String())
		if err != nil || !p.Addr().Is4() || p.Bits() > 30 {
			continue
		}
		first := p.Masked().Addr()
		last := first.As4()
		binary.BigEndian.PutUint32(last[:], binary.BigEndian.Uint32(last[:])|(1<<(32-p.Bits())-1))
		list = append(list, netip.PrefixFrom(first, 32), netip.PrefixFrom(netip.AddrFrom4(last), 32))
	}
	return list
}

// loopback reports whether the socket reaches this host alone.
func (s *search) loopback() bool {
	a, ok := s.local.(*net.UDPAddr)
	return ok && a.IP.IsLoopback()
}

// loggers passes what pion warns of on at debug level. All below is dropped: it
// names the agent's password.
type loggers struct{ log *zap.Logger }

func (l loggers) NewLogger(string) logging.LeveledLogger { return leveled{l.log.Sugar()} }

type leveled struct{ log *zap.SugaredLogger }

func (leveled) Trace(string)                    {}
func (leveled) Tracef(string, ...any)           {}
func (leveled) Debug(string)                    {}
func (leveled) Debugf(string, ...any)           {}
func (leveled) Info(string)                     {}
func (leveled) Infof(string, ...any)            {}
func (l leveled) Warn(msg string)               { l.log.Debug("ice: ", msg) }
func (l leveled) Warnf(format string, a ...any) { l.log.Debugf("ice: "+format, a...) }
func (l leveled) Error(msg string)              { l.log.Debug("ice: ", msg) }
func (l leveled) Errorf(f string, a ...any)     { l.log.Debugf("ice: "+f, a...) }
