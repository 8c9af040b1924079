// Package fleet is the demo's whole deployment in one process: a broker, the back
// end with its HTTPS API, a node, a relay, and photo booths. Each part is the one
// that the reference binaries run, on a loopback address of its own.
package fleet

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"go.uber.org/zap"
	"golang.org/x/crypto/ssh"

	"github.com/boothwire/boothwire/cmd/boothwire-demo/internal/booth"
	"github.com/boothwire/boothwire/cmd/boothwire-demo/internal/broker"
	"github.com/boothwire/boothwire/gateway"
	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay"
	"github.com/boothwire/boothwire/relay/server"
	"github.com/boothwire/boothwire/tunnel/agent"
)

// NodeName is the demo's node.
const NodeName = "wg-bj-01"

// A Fleet runs until Close.
type Fleet struct {
	Dir        string // everything that the demo writes
	URL        string // of control's API
	CA         string // file: its certificate
	Token      string // an admin's
	Desk       Desk
	Key        string // file: the engineer's SSH key
	KnownHosts string // file: the booths' host keys, for ssh
	Signer     ssh.Signer

	Client *client.Client
	http   *http.Transport // of Client
	Node   *gateway.Node
	Relay  *server.Server
	Kiosks []*Kiosk

	certificate tls.Certificate // control's and the relay's
	pool        *x509.CertPool  // that holds it
	relayPort   net.Listener
	relayKey    keys.PrivateKey

	log    *zap.Logger
	cancel context.CancelFunc
	work   sync.WaitGroup
	close  []func() error // in reverse order
}

// A Kiosk is one booth with its agent.
type Kiosk struct {
	ID     string
	Dir    string
	SSH    *booth.Server
	Router booth.Router // of its shop
	Agent  *agent.Agent
	Key    keys.IdentityKey
}

// Start starts everything in dir and returns when it runs; the kiosks may still
// be connecting. logSize is how many bytes each booth's log has.
func Start(ctx context.Context, dir string, kiosks int, logSize int64, log *zap.Logger) (*Fleet, error) {
	f := &Fleet{Dir: dir, log: log}
	run, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	if err := f.start(ctx, run, kiosks, logSize); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (f *Fleet) start(ctx, run context.Context, kiosks int, logSize int64) error {
	if err := f.engineerKey(); err != nil {
		return err
	}
	ids := make([]string, kiosks)
	for i := range ids {
		ids[i] = fmt.Sprintf("kiosk-%d", i+1)
	}
	b, err := broker.Start(ids...)
	if err != nil {
		return err
	}
	f.later(b.Close)
	if err := f.makeCertificate(); err != nil {
		return err
	}
	road, err := f.listenRelay(ctx)
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	if err := f.startControl(ctx, run, b, road); err != nil {
		return fmt.Errorf("control: %w", err)
	}
	if err := f.startRelay(ctx, run); err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	if err := f.startNode(ctx, run); err != nil {
		return fmt.Errorf("node: %w", err)
	}
	trust, err := f.Client.Trust(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := f.startKiosk(ctx, run, id, b, trust, logSize); err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
	}
	return nil
}

func (f *Fleet) later(close func() error) { f.close = append(f.close, close) }

// engineerKey makes the SSH key that the booths authorise.
func (f *Fleet) engineerKey() error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(private, "boothwire demo")
	if err != nil {
		return err
	}
	f.Key = filepath.Join(f.Dir, "engineer")
	f.KnownHosts = filepath.Join(f.Dir, "known_hosts")
	if err := os.WriteFile(f.Key, pem.EncodeToMemory(block), 0o600); err != nil {
		return err
	}
	f.Signer, err = ssh.NewSignerFromSigner(private)
	return err
}

// startNode enrols a node as a real one does, and follows control.
func (f *Fleet) startNode(ctx, run context.Context) error {
	claim, err := f.Client.ClaimNode(ctx, NodeName)
	if err != nil {
		return err
	}
	store := keys.Dir(filepath.Join(f.Dir, "node"))
	log := f.log.Named("node")
	enrolment, err := gateway.Enroll(ctx, f.URL, store, &gateway.EnrollConfig{Claim: claim.Claim, Name: NodeName, Logger: log})
	if err != nil {
		return err
	}
	roots, err := keys.OpenRoots(store, enrolment.Issuer, enrolment.Roots...)
	if err != nil {
		return err
	}
	f.Node, err = gateway.Open(ctx, enrolment.Name, roots, &gateway.Config{
		Store:     store,
		Plane:     gateway.Userspace,
		Endpoints: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")},
		Relay: func(ctx context.Context, relays []keys.Relay, key keys.PrivateKey) (net.Conn, error) {
			return relay.Dial(ctx, relays, key, f.Dialling())
		},
		Logger: log,
	})
	if err != nil {
		return err
	}
	f.later(f.Node.Close)
	f.work.Go(func() {
		if err := f.Node.Follow(run, f.URL, nil); err != nil && run.Err() == nil {
			log.Error("follow", zap.Error(err))
		}
	})
	return nil
}

// startKiosk makes a booth, registers its device and runs its agent.
func (f *Fleet) startKiosk(ctx, run context.Context, id string, b *broker.Broker, trust client.Trust, logSize int64) error {
	k := &Kiosk{ID: id, Dir: filepath.Join(f.Dir, id)}
	if err := booth.Fill(k.Dir, id, logSize); err != nil {
		return err
	}
	var err error
	if k.SSH, err = booth.Serve(k.Dir, f.Signer.PublicKey()); err != nil {
		return err
	}
	f.later(k.SSH.Close)
	device, err := keys.OpenDevice(id, keys.Dir(filepath.Join(f.Dir, id+"-state")), keys.Trust{Roots: trust.Roots, Issuer: trust.Issuer, Ports: []keys.Port{keys.TCP(22)}})
	if err != nil {
		return err
	}
	device.Fingerprints(k.SSH.Fingerprint(), [32]byte{})
	k.Key = device.Key()
	if _, err := f.Client.AddDevice(ctx, id, device.Key()); err != nil {
		return err
	}
	if k.Agent, err = f.agent(device, b, k); err != nil {
		return err
	}
	if err := f.know(k); err != nil {
		return err
	}
	f.Kiosks = append(f.Kiosks, k)
	f.work.Go(func() {
		if err := k.Agent.Run(run); err != nil {
			f.log.Error("agent", zap.String("device", id), zap.Error(err))
		}
	})
	return nil
}

// Idle closes the connections that the API's client keeps for its next call.
func (f *Fleet) Idle() { f.http.CloseIdleConnections() }

// Conns is the number of connections at all booths' SSH servers.
func (f *Fleet) Conns() (n int) {
	for _, k := range f.Kiosks {
		n += k.SSH.Conns()
	}
	return n
}

// Close ends everything: kiosks first, the broker last.
func (f *Fleet) Close() error {
	f.cancel()
	f.work.Wait()
	var errs []error
	for i := len(f.close) - 1; i >= 0; i-- {
		errs = append(errs, f.close[i]())
	}
	http.DefaultClient.CloseIdleConnections()
	return errors.Join(errs...)
}

// know adds the booth's host key to those that the engineer's ssh knows.
func (f *Fleet) know(k *Kiosk) error {
	hosts, err := os.OpenFile(f.KnownHosts, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = hosts.WriteString(k.ID + " " + string(ssh.MarshalAuthorizedKey(k.SSH.HostKey())))
	return errors.Join(err, hosts.Close())
}
