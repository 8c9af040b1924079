package gateway

import (
	"net/netip"

	"github.com/boothwire/boothwire/keys"
)

// How node and control speak. Both requests of the node and the stream go over
// mutual TLS: control knows the node by its identity key, the node knows control
// by its certificate. The channel carries no authority: grants and downs are
// signed, and the node verifies each.
//
//	POST /node/v1/enroll   enrollRequest -> Enrolment, once, with a claim
//	GET  /node/v1/follow   -> a line of JSON each: hello, then every live grant
//	                       and pending end of the node, then what changes;
//	                       a ping every 10 s; "relays" beside a grant are the
//	                       node's own legs. With ?relay=1 also every session that
//	                       is over, of other nodes too: those of the last hour,
//	                       then each as it ends
//	POST /node/v1/report   report -> 204, each 5 s at the latest; the first of each
//	                       follow says what the node holds, and how it is
const (
	pathEnroll = "/node/v1/enroll"
	pathFollow = "/node/v1/follow"
	pathReport = "/node/v1/report"

	withRelay = "?relay=1"
)

// maxLine bounds a line of the stream and an answer: a grant is at most 8 KiB.
const maxLine = 64 << 10

type enrollRequest struct {
	Claim     string           `json:"claim"`
	Name      string           `json:"name,omitempty"`
	Key       keys.PublicKey   `json:"key"`
	Endpoints []netip.AddrPort `json:"endpoints"`
	Version   string           `json:"version,omitempty"`
}

// The kinds of lines.
const (
	lineHello = "hello"
	lineGrant = "grant"
	lineEnd   = "end"
	linePing  = "ping"
	lineOver  = "over"
)

type line struct {
	Kind    string       `json:"kind"`
	Proof   netip.Addr   `json:"proof"`
	Pool    netip.Prefix `json:"pool"`
	Session string       `json:"session"`
	Token   string       `json:"token"`
	Relays  []keys.Relay `json:"relays"`
}

type report struct {
	Seq       uint64           `json:"seq"`
	Events    []reportEvent    `json:"events"`
	Sessions  *[]reportSession `json:"sessions,omitempty"`
	Endpoints []netip.AddrPort `json:"endpoints,omitempty"`
	Operators []netip.AddrPort `json:"operator_endpoints,omitempty"` // where they differ
	Version   string           `json:"version,omitempty"`
	Beats     bool             `json:"beats,omitempty"` // it reports each 5 s, whatever happens
	Region    string           `json:"region,omitempty"`
	Capacity  int              `json:"capacity,omitempty"`
	Stats     *Stats           `json:"stats,omitempty"`
}

type reportEvent struct {
	Kind    string     `json:"kind"`
	Session string     `json:"session"`
	Rev     int        `json:"rev,omitempty"`
	Code    string     `json:"code,omitempty"`
	Rx      uint64     `json:"rx,omitempty"`
	Tx      uint64     `json:"tx,omitempty"`
	AtMicro int64      `json:"at_us"`         // Unix time, the node's clock
	From    netip.Addr `json:"from,omitzero"` // the device's public address
}

type reportSession struct {
	Session string `json:"session"`
	Rev     int    `json:"rev"`
	Fresh   bool   `json:"fresh,omitempty"` // its tunnels began anew, and the device has not come yet
}

type problem struct {
	Code   string `json:"code"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
}
