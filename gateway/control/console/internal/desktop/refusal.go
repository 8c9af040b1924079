package desktop

import (
	"context"
	"errors"
	"net/http"

	"github.com/coder/websocket"

	"github.com/boothwire/boothwire/gateway/control/client"
)

// Why there is no desktop, or no longer. What a session and a connect code are refused
// for comes from where they are kept.
var (
	errForeign      = client.Refuse(http.StatusForbidden, "cross_origin", "the request does not come from a page of this console")
	errMalformed    = client.Refuse(http.StatusBadRequest, "malformed", "not what an engine says")
	errRecording    = client.Refuse(http.StatusForbidden, "recording_required", "desktops are recorded, which needs guacd")
	errNoGuacd      = client.Refuse(http.StatusNotFound, "no_guacd", "no guacd is configured")
	errNoDrive      = client.Refuse(http.StatusForbidden, "no_drive", "drives are not configured")
	errGuacdAway    = client.Refuse(http.StatusBadGateway, "guacd_away", "guacd does not answer")
	errGuacdRefused = client.Refuse(http.StatusBadGateway, "guacd_refused", "guacd did not connect")
	errUnreachable  = client.Refuse(http.StatusBadGateway, "port_closed", "nothing answers at the device's RDP port")
	errNotRDP       = client.Refuse(http.StatusBadGateway, "not_rdp", "what answers at the device's RDP port is not RDP")
	errNegotiation  = client.Refuse(http.StatusBadGateway, "negotiation_refused", "the device refuses every security that the engine offers")
	errNoNLA        = client.Refuse(http.StatusForbidden, "nla_required", "the device does not ask for NLA, without which the password would pass through this console")
	errTLS          = client.Refuse(http.StatusBadGateway, "tls_failed", "the TLS handshake with the device failed")
	errUnsigned     = client.Refuse(http.StatusForbidden, "certificate_unsigned", "the device has not signed which certificate its RDP server has")
	errOther        = client.Refuse(http.StatusForbidden, "certificate_wrong", "the RDP server's certificate is not the one that the device signed")
	errChanged      = client.Refuse(http.StatusForbidden, "certificate_changed", "the RDP server's certificate is not the one that it had at first")
	errNoHostKey    = client.Refuse(http.StatusForbidden, "host_key_unsigned", "the device has not signed which SSH host key it has")
	errWrongHostKey = client.Refuse(http.StatusForbidden, "host_key_wrong", "the SSH host key is not the one that the device signed")
	errLate         = client.Refuse(http.StatusGatewayTimeout, "timeout", "it took too long")
	errSlow         = client.Refuse(http.StatusRequestTimeout, "slow", "the other end does not take what is sent")
	errBroken       = client.Refuse(http.StatusBadGateway, "broken", "the connection to the device broke")
	errDropped      = client.Refuse(http.StatusBadGateway, "dropped", "the device ended the connection before it showed anything, as it does when a password is wrong")
	errFull         = client.Refuse(http.StatusTooManyRequests, "too_many_desktops", "this console has as many desktops open as it may, of all or of one user")
)

// word is the refusal that err is, or means.
func word(err error) *client.Error {
	if e, ok := errors.AsType[*client.Error](err); ok {
		return e
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errLate
	}
	return errBroken
}

// Ends in good order: the device's, where the person signed out, and the page's.
var normal, gone = &client.Error{Code: "closed"}, &client.Error{Code: "closed"}

func isNormal(e *client.Error) bool { return e == normal || e == gone }

// closeCode is how a WebSocket says it.
func closeCode(e *client.Error) websocket.StatusCode {
	if isNormal(e) {
		return websocket.StatusNormalClosure
	}
	return websocket.StatusCode(4000 + e.Status)
}
