package desktop

import (
	"context"
	"errors"
	"net/http"

	"github.com/coder/websocket"

	"github.com/boothwire/boothwire/gateway/control/client"
)

// refuse is a refusal as control's API has them.
func refuse(status int, code, detail string) *client.Error {
	return &client.Error{Status: status, Code: code, Title: http.StatusText(status), Detail: detail}
}

// Why there is no desktop, or no longer. What a session and a connect code are refused
// for comes from where they are kept.
var (
	errForeign      = refuse(http.StatusForbidden, "cross_origin", "the request does not come from a page of this console")
	errMalformed    = refuse(http.StatusBadRequest, "malformed", "not what an engine says")
	errRecording    = refuse(http.StatusForbidden, "recording_required", "desktops are recorded, which needs guacd")
	errNoGuacd      = refuse(http.StatusNotFound, "no_guacd", "no guacd is configured")
	errNoDrive      = refuse(http.StatusForbidden, "no_drive", "drives are not configured")
	errGuacdAway    = refuse(http.StatusBadGateway, "guacd_away", "guacd does not answer")
	errGuacdRefused = refuse(http.StatusBadGateway, "guacd_refused", "guacd did not connect")
	errUnreachable  = refuse(http.StatusBadGateway, "port_closed", "nothing answers at the device's RDP port")
	errNotRDP       = refuse(http.StatusBadGateway, "not_rdp", "what answers at the device's RDP port is not RDP")
	errNegotiation  = refuse(http.StatusBadGateway, "negotiation_refused", "the device refuses every security that the engine offers")
	errNoNLA        = refuse(http.StatusForbidden, "nla_required", "the device does not ask for NLA, without which the password would pass through this console")
	errTLS          = refuse(http.StatusBadGateway, "tls_failed", "the TLS handshake with the device failed")
	errUnsigned     = refuse(http.StatusForbidden, "certificate_unsigned", "the device has not signed which certificate its RDP server has")
	errOther        = refuse(http.StatusForbidden, "certificate_wrong", "the RDP server's certificate is not the one that the device signed")
	errChanged      = refuse(http.StatusForbidden, "certificate_changed", "the RDP server's certificate is not the one that it had at first")
	errNoHostKey    = refuse(http.StatusForbidden, "host_key_unsigned", "the device has not signed which SSH host key it has")
	errWrongHostKey = refuse(http.StatusForbidden, "host_key_wrong", "the SSH host key is not the one that the device signed")
	errLate         = refuse(http.StatusGatewayTimeout, "timeout", "it took too long")
	errSlow         = refuse(http.StatusRequestTimeout, "slow", "the other end does not take what is sent")
	errBroken       = refuse(http.StatusBadGateway, "broken", "the connection to the device broke")
	errDropped      = refuse(http.StatusBadGateway, "dropped", "the device ended the connection before it showed anything, as it does when a password is wrong")
	errFull         = refuse(http.StatusTooManyRequests, "too_many_desktops", "this console has as many desktops open as it may, of all or of one user")
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
