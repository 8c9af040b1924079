// Command boothctl is the operator's tool: devices, sessions, and the way to a
// device's SSH, RDP, SMB or any other granted port.
package main

import (
	"os"

	"github.com/boothwire/boothwire/cmd/boothctl/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
