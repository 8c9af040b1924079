package signaling

import (
	"encoding/json"
)

// encode makes the bytes of a message: its token signed, prekeys beside a
// document. It returns nil when the Device signs nothing.
func (s *server) encode(a sendAction) []byte {
	out := a.hint
	if a.typ == typStatus {
		out.Prekeys = s.d.Prekeys()
	}
	// Whatever a host put into the document, the rest must fit.
	for _, smaller := range []func(*Status){
		func(*Status) {},
		func(st *Status) { st.Why = "" },
		func(st *Status) { st.Checks = withoutDetails(st.Checks) },
		func(st *Status) { st.Checks = nil },
		func(st *Status) { st.Caps = nil },
		func(st *Status) { st.Ladder = st.Ladder[:min(len(st.Ladder), 12)] },
	} {
		if a.typ != "" {
			smaller(&a.st)
			payload, err := json.Marshal(a.st)
			if err != nil {
				continue
			}
			if out.Token, err = s.d.Sign(a.typ, payload); err != nil {
				return nil
			}
		}
		if b, err := json.Marshal(out); err == nil {
			return b
		}
	}
	return nil
}
