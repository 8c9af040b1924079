package daemon

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// logger writes one JSON object a line: ts, level, logger, msg and the fields
// device, session, node, peer, path, code.
func (s *Settings) logger(name string, w io.Writer) (*zap.Logger, error) {
	level := zapcore.InfoLevel
	if s.Log != "" {
		if err := level.Set(s.Log); err != nil {
			return nil, Wrong("log", "%q is not debug, info, warn or error", s.Log)
		}
	}
	enc := zap.NewProductionEncoderConfig()
	enc.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	enc.EncodeDuration = zapcore.StringDurationEncoder
	core := zapcore.NewCore(zapcore.NewJSONEncoder(enc), zapcore.Lock(zapcore.AddSync(w)), level)
	return zap.New(core).Named(name), nil
}

// serveDebug serves /debug/pprof on a loopback address; the returned func ends it.
func (s *Settings) serveDebug(log *zap.Logger) (stop func(), err error) {
	if s.Debug == "" {
		return func() {}, nil
	}
	addr, err := netip.ParseAddrPort(s.Debug)
	if err != nil || !addr.Addr().IsLoopback() {
		return nil, Wrong("debug", "%q is no loopback address with a port, such as 127.0.0.1:6060", s.Debug)
	}
	ln, err := net.Listen("tcp", s.Debug)
	if err != nil {
		return nil, fmt.Errorf("serve the debug page: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go srv.Serve(ln)
	log.Info("debug page", zap.String("url", "http://"+ln.Addr().String()+"/debug/pprof/"))
	return func() { srv.Close() }, nil
}
