package scenario

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/boothwire/boothwire/internal/daemon"
)

//go:embed scripts/*.toml
var scripts embed.FS

// Format is a script with every field that there is, explained.
//
//go:embed format.toml
var Format string

// A Scenario is one script.
type Scenario struct {
	Name      string          `toml:"-"`
	Title     string          `toml:"title"`     // one sentence
	Devices   int             `toml:"devices"`   // of the fleet
	Nodes     int             `toml:"nodes"`     // default 1
	Workers   int             `toml:"workers"`   // processes that share the devices; default one for each 2,500
	Addresses int             `toml:"addresses"` // that all devices share, as behind NATs; default one each
	Connect   daemon.Duration `toml:"connect"`   // within which they connect to the broker; default 5 ms for each
	Callers   int             `toml:"callers"`   // API calls at once; default 256
	Bars      Bars            `toml:"bars"`
	Steps     []Step          `toml:"step"`
}

// Bars are what must hold of every wake.
type Bars struct {
	P99 daemon.Duration `toml:"p99"` // from a device's own wake until it is ready; 0: none
	All daemon.Duration `toml:"all"` // from the step's beginning until the last one is; 0: none
}

// What a step does.
const (
	Wake   = "wake"   // open Devices sessions Within a time
	Hold   = "hold"   // leave what is open alone For a time
	Upload = "upload" // have Devices send to operators at Rate For a time
	Churn  = "churn"  // open PerSecond sessions, close each after Stay, For a time
	Kill   = "kill"   // kill -9 of a Node
	Close  = "close"  // close all that is open
	Climb  = "climb"  // wake at rising rates, From, Step, To, each For a time
)

// A Step is one line of a script; each kind has the fields that it names.
type Step struct {
	Do        string          `toml:"do"`
	Devices   int             `toml:"devices"` // default: all without a session; upload: all
	Within    daemon.Duration `toml:"within"`  // 0: all at once
	For       daemon.Duration `toml:"for"`
	Stay      daemon.Duration `toml:"stay"`
	Rate      int64           `toml:"rate"` // bit/s of each; 0: as fast as it goes
	PerSecond float64         `toml:"per_second"`
	Node      int             `toml:"node"` // 1 is the first
	From      float64         `toml:"from"` // wakes a second
	Step      float64         `toml:"step"`
	To        float64         `toml:"to"`
	Patience  daemon.Duration `toml:"patience"` // until what is not ready has failed; default 90 s
}

// Names are the scripts that the program brings along.
func Names() []string {
	var all []string
	files, _ := scripts.ReadDir("scripts")
	for _, f := range files {
		all = append(all, strings.TrimSuffix(f.Name(), ".toml"))
	}
	return all
}

// Load reads a script by its name, or a file, and changes it; nil: not at all.
func Load(name string, c *Change) (*Scenario, error) {
	text, err := scripts.ReadFile(path.Join("scripts", name+".toml"))
	if errors.Is(err, fs.ErrNotExist) {
		if !strings.Contains(name, ".") {
			return nil, fmt.Errorf("%q is none of %s, nor a file.toml", name, strings.Join(Names(), ", "))
		}
		text, err = os.ReadFile(name)
		name = strings.TrimSuffix(filepath.Base(name), ".toml")
	}
	if err != nil {
		return nil, err
	}
	s, err := Parse(text, c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s.Name = name
	return s, nil
}

// Parse reads a script and changes it; what both leave out has its default.
func Parse(text []byte, c *Change) (*Scenario, error) {
	s := new(Scenario)
	if err := toml.NewDecoder(strings.NewReader(string(text))).DisallowUnknownFields().Decode(s); err != nil {
		if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
			return nil, fmt.Errorf("unknown fields:\n%s", strict.String())
		}
		return nil, err
	}
	c.apply(s)
	if err := s.settle(); err != nil {
		return nil, err
	}
	return s, nil
}

const (
	maxDevices = 100_000
	maxCallers = 8_192 // well below the 20,000 descriptors that a process often has at most
	perWorker  = 2_500 // devices: three descriptors each, and a heap that one collection can walk
)

// settle puts defaults in place and refuses what cannot be.
func (s *Scenario) settle() error {
	s.Nodes = max(s.Nodes, 1)
	if s.Workers == 0 {
		s.Workers = (s.Devices + perWorker - 1) / perWorker
	}
	if s.Callers == 0 {
		s.Callers = 256
	}
	if s.Connect == 0 {
		s.Connect = daemon.Duration(s.Devices) * daemon.Duration(5*time.Millisecond)
	}
	switch {
	case s.Devices < 1 || s.Devices > maxDevices:
		return daemon.Wrong("devices", "%d is not between 1 and %d", s.Devices, maxDevices)
	case s.Workers < 1 || s.Workers > s.Devices:
		return daemon.Wrong("workers", "%d do not share %d devices", s.Workers, s.Devices)
	case s.Nodes > 16:
		return daemon.Wrong("nodes", "%d are more than 16", s.Nodes)
	case s.Addresses < 0 || s.Addresses > s.Devices:
		return daemon.Wrong("addresses", "%d for %d devices", s.Addresses, s.Devices)
	case s.Callers < 1 || s.Callers > maxCallers:
		return daemon.Wrong("callers", "%d is not between 1 and %d", s.Callers, maxCallers)
	case len(s.Steps) == 0:
		return daemon.Wrong("step", "nothing is done")
	}
	for i := range s.Steps {
		if err := s.Steps[i].settle(s); err != nil {
			return daemon.In(fmt.Sprintf("step[%d]", i), err)
		}
	}
	return nil
}

func (p *Step) settle(s *Scenario) error {
	if p.Patience == 0 {
		p.Patience = daemon.Duration(90 * time.Second)
	}
	if p.Devices < 0 || p.Devices > s.Devices {
		return daemon.Wrong("devices", "%d of %d", p.Devices, s.Devices)
	}
	need := func(field string, ok bool) error {
		if ok {
			return nil
		}
		return daemon.Wrong(field, "%s needs it", p.Do)
	}
	switch p.Do {
	case Wake, Close:
		return nil
	case Hold:
		return need("for", p.For > 0)
	case Upload:
		if p.Rate < 0 {
			return daemon.Wrong("rate", "%d is negative", p.Rate)
		}
		return need("for", p.For > 0)
	case Churn:
		return errors.Join(need("for", p.For > 0), need("per_second", p.PerSecond > 0))
	case Kill:
		if p.Node < 1 || p.Node > s.Nodes {
			return daemon.Wrong("node", "there is no node %d of %d", p.Node, s.Nodes)
		}
		return nil
	case Climb:
		return errors.Join(need("for", p.For > 0), need("from", p.From > 0), need("step", p.Step > 0), need("to", p.To >= p.From))
	}
	return daemon.Wrong("do", "%q is none of wake, hold, upload, churn, kill, close, climb", p.Do)
}
