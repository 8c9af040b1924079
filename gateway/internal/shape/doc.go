// Package shape decides in which order, and when, the packets of a node's sessions
// go on: who is limited waits, who shares a line gets his share of it, and what is
// interactive does not stand behind what is not. It holds packets and a time comes
// in with every call; it starts nothing and reads no clock.
//
// Each direction is a line of its own, and on it:
//
//	flows of a session     sessions that may go           the line
//	 ssh    ──► fresh ─┐
//	 rdp    ──► rest   ├─► fresh: something sparse waits, and credit is left ─┐
//	 upload ──► rest  ─┘   rest:  one packet's worth each, in turn            ├─► its rate
//	                       parked: at its own rate's limit, until then       ─┘
//
// Within a session flows take turns as in fq_codel (RFC 8290): one that was empty
// goes before those that are not, and a flow whose packets wait for too long loses
// some (CoDel, RFC 8289). A session with such a sparse packet goes before others,
// but only as far as its credit reaches, 256 kbit/s; its turn pays for that as for
// all it sends. So nobody gains by splitting what he sends into many flows, or into
// moments.
//
// Memory is bounded: when it is full, the longest queue of all loses its oldest
// packet, and a session has queues only while packets of its wait.
package shape
