package netlab

import (
	"fmt"
	"strings"
)

// Drawing shows the network: each host with its links below it.
//
//	kiosk (host)
//	 '-- net0 192.168.7.2 ~~~ 20ms ~~~ 192.168.7.1 net0  shop
func (l *Lab) Drawing() string {
	var b strings.Builder
	for _, h := range l.hosts {
		fmt.Fprintf(&b, "%s (%s", h.Name, h.kind)
		if h.note != "" {
			fmt.Fprintf(&b, ", %s", h.note)
		}
		b.WriteString(")\n")
		for _, k := range l.links {
			near, far := k.A, k.B
			if far.host == h {
				near, far = far, near
			}
			if near.host == h {
				fmt.Fprintf(&b, " '-- %s %s %s %s\n", near, k.wire(), far, far.host.Name)
			}
		}
	}
	return b.String()
}

func (i *Interface) String() string {
	if i.Addr.IsValid() {
		return i.Name + " " + i.Addr.String()
	}
	return i.Name
}

func (k *Link) wire() string {
	if k.emu == nil {
		return "-----"
	}
	e := k.emu.setting.Load()
	says := []string{"~~~"}
	if e.Delay > 0 {
		says = append(says, e.Delay.String())
	}
	if e.Loss > 0 {
		says = append(says, fmt.Sprintf("%.0f%% loss", e.Loss*100))
	}
	if e.Rate > 0 {
		says = append(says, fmt.Sprintf("%.1f Mbit/s", float64(e.Rate)/1e6))
	}
	if e.MTU > 0 {
		says = append(says, fmt.Sprintf("MTU %d", e.MTU))
	}
	return strings.Join(append(says, "~~~"), " ")
}
