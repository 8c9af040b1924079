package nat

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/pion/ice/v2"
)

// An attempt is one generation: an ICE agent, its candidates and their exchange.
// It belongs to its search's run; callbacks and goroutines come back by post.
type attempt struct {
	s        *search
	own, far *keys
	exchange exchange
	agent    *ice.Agent
	started  bool // the far end was heard, and checks run
	ctx      context.Context
	cancel   context.CancelFunc
	work     sync.WaitGroup
}

// Waits of pion that are tuned; its own add half a second to a second.
const (
	checkInterval = 50 * time.Millisecond
	// reflexiveWait is how long a path by way of a NAT waits for one without: a
	// host's pairs need one round trip.
	reflexiveWait = 100 * time.Millisecond
	relayWait     = 300 * time.Millisecond
	// checksMost is how often a pair is checked before it is given up: as long as
	// an attempt takes, because the far end may hear of a candidate late.
	checksMost = uint16(attemptMost / checkInterval)
)

// newAttempt starts gathering.
func (s *search) newAttempt(generation uint64) (*attempt, error) {
	a := &attempt{s: s}
	var err error
	if a.own, err = derive(s.secret, generation, s.role); err != nil {
		return nil, err
	}
	if a.far, err = derive(s.secret, generation, s.role.far()); err != nil {
		return nil, err
	}
	if a.agent, err = ice.NewAgent(a.config()); err != nil {
		return nil, err
	}
	a.ctx, a.cancel = context.WithCancel(s.ctx)
	if err := a.gather(); err != nil {
		a.stop()
		return nil, err
	}
	return a, nil
}

func (a *attempt) config() *ice.AgentConfig {
	keepalive := a.s.cfg.Keepalive
	lost := keepalive * 5 / 2
	check, reflexive, relay, checks := checkInterval, reflexiveWait, relayWait, checksMost
	failed := attemptMost
	return &ice.AgentConfig{
		LocalUfrag:             a.own.ufrag,
		LocalPwd:               a.own.pwd,
		UDPMux:                 a.s.mux.Base(),
		NetworkTypes:           []ice.NetworkType{ice.NetworkTypeUDP4, ice.NetworkTypeUDP6},
		CandidateTypes:         []ice.CandidateType{ice.CandidateTypeHost},
		MulticastDNSMode:       ice.MulticastDNSModeDisabled,
		CheckInterval:          &check,
		KeepaliveInterval:      &keepalive,
		DisconnectedTimeout:    &lost,
		FailedTimeout:          &failed,
		SrflxAcceptanceMinWait: &reflexive,
		PrflxAcceptanceMinWait: &reflexive,
		RelayAcceptanceMinWait: &relay,
		MaxBindingRequests:     &checks,
		LoggerFactory:          loggers{a.s.log},
		IncludeLoopback:        true, // the mux has decided already
	}
}

// gather begins everything that finds candidates. The agent has one local
// candidate for each address family, the socket itself: RFC 8445, section 5.1.3,
// prunes what has the same base. What the far end is offered is asked for here.
func (a *attempt) gather() error {
	_ = a.agent.OnCandidate(func(ice.Candidate) {})
	_ = a.agent.OnConnectionStateChange(func(state ice.ConnectionState) {
		switch state {
		case ice.ConnectionStateDisconnected, ice.ConnectionStateFailed:
			a.post(func() { a.s.ended() })
		}
	})
	_ = a.agent.OnSelectedCandidatePairChange(func(_, remote ice.Candidate) {
		if addr, err := netip.ParseAddrPort(net.JoinHostPort(remote.Address(), strconv.Itoa(remote.Port()))); err == nil {
			a.post(func() { a.s.found(a.remote(addr)) })
		}
	})
	if err := a.agent.GatherCandidates(); err != nil {
		return err
	}
	var hosts []Candidate
	for _, addr := range a.s.mux.Addresses() {
		hosts = append(hosts, Candidate{Host, addr})
	}
	now := time.Now()
	a.exchange.add(now, hosts...)
	var asks sync.WaitGroup
	for _, srv := range a.s.servers {
		asks.Add(1)
		a.work.Go(func() { defer asks.Done(); a.ask(srv) })
	}
	if len(a.s.servers) == 0 {
		a.exchange.finish(now)
		return nil
	}
	a.work.Go(func() {
		asks.Wait()
		a.post(func() { a.exchange.finish(time.Now()) })
	})
	return nil
}

// ask learns from a STUN server how it sees the socket, over each family.
func (a *attempt) ask(srv server) {
	ctx, cancel := context.WithTimeout(a.ctx, attemptMost/2)
	defer cancel()
	addrs, err := srv.resolve(ctx)
	if err != nil {
		return
	}
	var families sync.WaitGroup
	defer families.Wait()
	for _, addr := range addrs {
		families.Go(func() {
			if mapped, err := a.s.mux.Query(ctx, addr); err == nil {
				a.post(func() { a.reflexive(mapped) })
			}
		})
	}
}

// reflexive offers a mapped address, unless it is one of the host.
func (a *attempt) reflexive(mapped netip.AddrPort) {
	c := Candidate{ServerReflexive, mapped}
	if c.worth(a.s.cfg.Refuse, a.s.loopback()) {
		a.exchange.add(time.Now(), c)
	}
}

// receive takes an offer that the far end sealed. The first starts the checks:
// before it there is nothing to check, and pion counts its waits from then on.
func (a *attempt) receive(o *offer, list []Candidate) {
	fresh := a.exchange.receive(time.Now(), o, list)
	refuse := a.s.cfg.Refuse
	if len(fresh) > 0 {
		nets, _ := net.InterfaceAddrs() // else none is known
		refuse = slices.Concat(refuse, broadcasts(nets))
	}
	for _, c := range fresh {
		if !c.worth(refuse, a.s.loopback()) {
			continue
		}
		if r, err := remoteCandidate(c); err == nil {
			_ = a.agent.AddRemoteCandidate(r)
		}
	}
	if a.started {
		return
	}
	a.started = true
	a.s.deadline.Reset(attemptMost)
	connect := a.agent.Accept
	if a.s.role == controlling {
		connect = a.agent.Dial
	}
	// Its Conn is of no use: the pair comes by the callback.
	a.work.Go(func() { _, _ = connect(a.ctx, a.far.ufrag, a.far.pwd) })
}

func remoteCandidate(c Candidate) (ice.Candidate, error) {
	ip, port := c.Addr.Addr().String(), int(c.Addr.Port())
	switch c.Type {
	case Host:
		return ice.NewCandidateHost(&ice.CandidateHostConfig{
			Network: "udp", Address: ip, Port: port, Component: ice.ComponentRTP})
	case ServerReflexive:
		return ice.NewCandidateServerReflexive(&ice.CandidateServerReflexiveConfig{
			Network: "udp", Address: ip, Port: port, Component: ice.ComponentRTP})
	default:
		return ice.NewCandidateRelay(&ice.CandidateRelayConfig{
			Network: "udp", Address: ip, Port: port, Component: ice.ComponentRTP})
	}
}

// remote is the far end's candidate with an address, peer reflexive if it offered
// none.
func (a *attempt) remote(addr netip.AddrPort) Candidate {
	return typed(addr, a.exchange.far)
}

func typed(addr netip.AddrPort, list []Candidate) Candidate {
	if i := slices.IndexFunc(list, func(c Candidate) bool { return c.Addr == addr }); i >= 0 {
		return list[i]
	}
	return Candidate{PeerReflexive, addr}
}

// pair says what the path to remote runs between: the local candidate is the one
// that the far end sees (RFC 8445, section 7.2.5.3.1).
func (a *attempt) pair(remote Candidate) Pair {
	p := Pair{Remote: remote}
	if addr, ok := a.s.mux.Mapped(a.own.ufrag, remote.Addr); ok {
		p.Local = typed(addr, a.exchange.list)
	}
	return p
}

// quiet reports whether nothing is owed to the far end any more, once there is a
// path: whoever has a path needs no candidates.
func (a *attempt) quiet() bool { return !a.exchange.owe }

// post runs f on run, unless the attempt has been stopped.
func (a *attempt) post(f func()) {
	select {
	case a.s.do <- func() {
		if a.s.try == a {
			f()
		}
	}:
	case <-a.ctx.Done():
	}
}

// stop ends the attempt and waits for it.
func (a *attempt) stop() {
	a.cancel()
	_ = a.agent.GracefulClose()
	a.work.Wait()
}
