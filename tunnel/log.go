package tunnel

import (
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.zx2c4.com/wireguard/device"
)

// The names of this package's log fields.
func fieldPath(k PathKind) zap.Field       { return zap.String("path", string(k)) }
func fieldRemote(s fmt.Stringer) zap.Field { return zap.Stringer("remote", s) }
func fieldKind(k EventKind) zap.Field      { return zap.String("event", string(k)) }
func fieldSuppressed(n int) zap.Field      { return zap.Int("suppressed", n) }
func fieldMode(m Mode) zap.Field           { return zap.String("mode", string(m)) }

// wireguardBurst lines at once and one a second after them is what WireGuard may
// write: it logs each packet that cannot be sent.
const wireguardBurst = 20

// wireguardLog maps the log of wireguard-go: verbose to debug, errors to warnings,
// since none of them ends the tunnel.
func wireguardLog(log *zap.Logger) *device.Logger {
	log = log.Named("wireguard")
	l := &limiter{tokens: wireguardBurst}
	write := func(level func(string, ...zap.Field)) func(string, ...any) {
		return func(format string, args ...any) {
			ok, suppressed := l.allow(time.Now())
			switch {
			case !ok:
			case suppressed > 0:
				level(fmt.Sprintf(format, args...), fieldSuppressed(suppressed))
			default:
				level(fmt.Sprintf(format, args...))
			}
		}
	}
	out := &device.Logger{Verbosef: device.DiscardLogf, Errorf: device.DiscardLogf}
	if log.Core().Enabled(zap.DebugLevel) {
		out.Verbosef = write(log.Debug)
	}
	if log.Core().Enabled(zap.WarnLevel) {
		out.Errorf = write(log.Warn)
	}
	return out
}

// limiter is a token bucket of wireguardBurst that gains one a second.
type limiter struct {
	mu         sync.Mutex
	tokens     float64
	last       time.Time
	suppressed int
}

func (l *limiter) allow(now time.Time) (ok bool, suppressed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.last.IsZero() {
		l.tokens = min(l.tokens+now.Sub(l.last).Seconds(), wireguardBurst)
	}
	l.last = now
	if l.tokens < 1 {
		l.suppressed++
		return false, 0
	}
	l.tokens--
	suppressed, l.suppressed = l.suppressed, 0
	return true, suppressed
}
