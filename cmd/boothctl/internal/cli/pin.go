package cli

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os/exec"
	"runtime"

	"github.com/spf13/cobra"
)

// knownHost is what ssh asks for the host keys that it may accept: the one that it
// was shown, if its hash is the one that the device signed.
func (a *app) knownHost() *cobra.Command {
	return &cobra.Command{
		Use:    "known-host DEVICE SHA256:HASH TYPE KEY",
		Short:  "for ssh's KnownHostsCommand: print the key if it has the hash",
		Hidden: true,
		Args:   cobra.ExactArgs(4),
		RunE: func(_ *cobra.Command, args []string) error {
			if hash := hostKeyHash(args[3]); hash != "" && hash == args[1] {
				fmt.Fprintln(a.out, args[0], args[2], args[3])
			}
			return nil
		},
	}
}

// hostKeyHash writes a key's hash as ssh-keygen -l does; "" for what is no key, as
// ssh's word for one that it has not seen yet.
func hostKeyHash(key string) string {
	blob, err := base64.StdEncoding.DecodeString(key)
	if err != nil || len(blob) == 0 {
		return ""
	}
	sum := sha256.Sum256(blob)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// pinned are ssh's options that accept one host key only; none where the device
// signed no hash or where ssh is older than 8.5 and remembers keys by itself.
func pinned(ssh, self, device, hash string) []string {
	if hash == "" || exec.Command(ssh, "-G", "-o", "KnownHostsCommand=none", "localhost").Run() != nil {
		return nil
	}
	return []string{
		"-o", "KnownHostsCommand=" + quote(self, runtime.GOOS == "windows") + " known-host " + device + " " + hash + " %t %K",
		"-o", "UserKnownHostsFile=none", "-o", "GlobalKnownHostsFile=none", "-o", "StrictHostKeyChecking=yes",
	}
}
