// Package held keeps the sessions that a console has opened for its users, each an
// operator's end of a tunnel in this process. A session is held as long as somebody
// looks at it: when its last tab has been closed for a grace time, it is left.
//
//	sessions := held.New(&held.Config{})
//	s, err := sessions.Open(ctx, held.Request{Who: who, API: api, Device: "kiosk-1"})
//	tab, err := s.Tab(ctx, who)     // a stream, a WebSocket, a transfer
//	conn, err := tab.Dial(ctx, 22)  // of that session's device, and of nothing else
//	tab.Close()
//
// A WebSocket comes by a code that is good once, within 30 s, for the user, the login,
// the session and the protocol that it was made for.
//
// It decides nothing about who may do what: the API does, which it calls as the user.
package held
