package sshconn

// The codes of an Error.
const (
	CodeUnsigned    = "host_key_unsigned"   // the device signed no host key, and policy wants one
	CodeMismatch    = "host_key_mismatch"   // the server showed another host key than the one that is pinned
	CodeUnreachable = "ssh_unreachable"     // nobody speaks SSH there
	CodeUser        = "user_unusable"       // no name of a user
	CodeKey         = "key_unreadable"      // no private key in a form that is known
	CodePassphrase  = "passphrase_needed"   // the private key is encrypted, under another passphrase than the given one
	CodeDenied      = "sign_in_denied"      // the server takes none of the credentials
	CodeSlow        = "sign_in_timeout"     // nobody answered in time
	CodeMany        = "too_many_channels"   // all that one connection may have are open
	CodeRefused     = "channel_refused"     // the server opens no terminal, or no SFTP
	CodeLost        = "ssh_connection_lost" // it broke, or the server stopped answering
	CodeEnded       = "session_over"        // session or login
)

// An Error is why there is no SSH connection, or no longer one. Err may hold words of
// the server's, never a secret.
type Error struct {
	Code string
	Err  error
}

func (e *Error) Error() string {
	if e.Err == nil {
		return "ssh: " + e.Code
	}
	return "ssh: " + e.Code + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }
