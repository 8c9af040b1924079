package nat

import (
	"fmt"
	"slices"
)

// A Fact is the answer to a question that may not have been asked.
type Fact uint8

// The zero Fact is NotChecked.
const (
	NotChecked Fact = iota
	No
	Yes
)

func factOf(yes bool) Fact {
	if yes {
		return Yes
	}
	return No
}

func factNames() []string { return []string{"not_checked", "no", "yes"} }

// String returns not_checked, no or yes.
func (f Fact) String() string { return nameOf(int(f), factNames()) }

// MarshalText returns what String does.
func (f Fact) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads what MarshalText returns, and nothing else.
func (f *Fact) UnmarshalText(b []byte) error {
	i, err := indexOf(string(b), factNames())
	*f = Fact(i)
	return err
}

// A Class is a behaviour of RFC 4787: what an outside address must be for the same
// mapping to be used (section 4.1), or for a packet to be let in (section 5).
type Class uint8

// The zero Class is Unknown: nothing was asked that tells.
const (
	Unknown Class = iota
	// Open: addresses are not translated; or packets come in from anywhere, without
	// translation.
	Open
	EndpointIndependent
	// AddressDependent mapping may depend on the port as well, if no server that
	// answered has a second port.
	AddressDependent
	AddressAndPortDependent
)

func classNames() []string {
	return []string{"unknown", "open", "endpoint_independent", "address_dependent", "address_and_port_dependent"}
}

// String returns unknown, open, endpoint_independent, address_dependent or
// address_and_port_dependent.
func (c Class) String() string { return nameOf(int(c), classNames()) }

// MarshalText returns what String does.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what MarshalText returns, and nothing else.
func (c *Class) UnmarshalText(b []byte) error {
	i, err := indexOf(string(b), classNames())
	*c = Class(i)
	return err
}

// short is for a line that says everything.
func (c Class) short() string {
	return nameOf(int(c), []string{"unknown", "open", "independent", "address", "address+port"})
}

func nameOf(i int, names []string) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("(%d)", i)
}

func indexOf(name string, names []string) (int, error) {
	if i := slices.Index(names, name); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("%.40q is none of %q", name, names)
}
