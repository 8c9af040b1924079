package sshconn

// How a host key came to be accepted.
const (
	Signed     = "signed"     // the device signed its hash
	Remembered = "remembered" // it is the one that the device showed first
	FirstUse   = "first_use"  // it was shown for the first time, and is remembered from now on
)

// want returns the hash that the device's key must have; "" with FirstUse: any.
func (c *Conns) want(device, signed string) (hash, how string, err error) {
	switch {
	case signed != "":
		return signed, Signed, nil
	case c.first == nil:
		return "", "", &Error{Code: CodeUnsigned}
	}
	if hash = c.first.Of(device); hash != "" {
		return hash, Remembered, nil
	}
	return "", FirstUse, nil
}

// remember notes the first key of a device. Of two that come at once one is the first.
func (c *Conns) remember(device, hash string) error {
	same, err := c.first.Meet(device, hash)
	if err == nil && !same {
		return &Error{Code: CodeMismatch}
	}
	return err
}
