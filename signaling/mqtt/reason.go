package mqtt

import "github.com/eclipse/paho.golang/paho"

// reasonTakenOver is MQTT 5.0's "session taken over", section 2.4.
const reasonTakenOver = 0x8e

// unauthorised reports whether a reason code says that who we are is the trouble,
// so that asking again soon is no use.
func unauthorised(code byte) bool {
	switch code {
	case 0x85, // client identifier not valid
		0x86, // bad user name or password
		0x87, // not authorised
		0x8a, // banned
		0x8c: // bad authentication method
		return true
	}
	return false
}

// noAuth stands where the client library calls a handler without looking whether
// there is one: for a CONNACK that names an authentication method.
type noAuth struct{}

var _ paho.Auther = noAuth{}

func (noAuth) Authenticate(*paho.Auth) *paho.Auth { return &paho.Auth{} }
func (noAuth) Authenticated()                     {}
