package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/boothwire/boothwire/keys"
)

func (a *app) ssh() *cobra.Command {
	var user string
	var identities, options []string
	c := &cobra.Command{
		Use:   "ssh [USER@]DEVICE [-- COMMAND]",
		Short: "run ssh to a device, through boothctl proxy",
		Long: `The host key must be the one whose hash the device signed (boothctl devices show
DEVICE). Where it signed none, or ssh is older than 8.5, ssh remembers the key under
the device's id, in its own known_hosts.`,
		Example: "  boothctl ssh kiosk-00042\n  boothctl ssh -i ~/.ssh/fleet admin@kiosk-00042 -- systemctl restart cups\n  boothctl ssh -o LocalForward=\"8080 127.0.0.1:80\" kiosk-00042",
		Args:    cobra.MinimumNArgs(1),
	}
	o := a.opens(c)
	c.Flags().StringVarP(&user, "login", "l", "", "user on the device")
	c.Flags().StringArrayVarP(&identities, "identity", "i", nil, "file of the private key to sign in with, as ssh -i (repeatable)")
	c.Flags().StringArrayVarP(&options, "option", "o", nil, "any option of ssh, as ssh -o (repeatable)")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		device := args[0]
		if name, id, ok := strings.Cut(device, "@"); ok {
			user, device = name, id
		}
		if !keys.ValidID(device) {
			return usageError{fmt.Errorf("%q is no device id: 1 to 64 of A-Z a-z 0-9 . _ -", device)}
		}
		ctl, err := a.client()
		if err != nil {
			return err // better here than from the proxy, through ssh
		}
		known, err := ctl.Device(cmd.Context(), device)
		if err != nil {
			return err
		}
		self, err := os.Executable()
		if err != nil {
			return err
		}
		ssh, err := exec.LookPath("ssh")
		if err != nil {
			return errors.New("there is no ssh on this machine; boothctl forward opens a local port for any client")
		}
		run := exec.CommandContext(cmd.Context(), ssh, append(pinned(ssh, self, device, known.SSH), a.sshLine(self, device, user, o, sshFlags(identities, options), args[1:])...)...)
		run.Stdin, run.Stdout, run.Stderr = a.in, a.out, a.err
		run.Env = a.sshEnv()
		run.Cancel = func() error { // kill would leave the terminal as ssh had it
			if run.Process.Signal(syscall.SIGTERM) == nil {
				return nil
			}
			return run.Process.Kill() // Windows
		}
		run.WaitDelay = 5 * time.Second
		err = run.Run()
		if e := cmd.Context().Err(); e != nil {
			return e
		}
		if status, ok := errors.AsType[*exec.ExitError](err); ok && status.ExitCode() > 0 {
			return exitStatus(status.ExitCode())
		}
		return err
	}
	return c
}

// sshFlags are ssh's own, as they were given to boothctl. ssh keeps the first value
// of an option: these come after those that reach the device and pin its host key.
func sshFlags(identities, options []string) []string {
	var line []string
	for _, f := range identities {
		line = append(line, "-i", f)
	}
	for _, o := range options {
		line = append(line, "-o", o)
	}
	return line
}

// sshLine is what ssh is called with.
func (a *app) sshLine(self, device, user string, o *opening, flags, command []string) []string {
	words := append([]string{self, "proxy"}, o.flags()...)
	if a.verbose {
		words = append(words, "--verbose")
	}
	if a.quiet {
		words = append(words, "--quiet")
	}
	words = append(words, "--", device)
	for i, w := range words {
		words[i] = strings.ReplaceAll(quote(w, runtime.GOOS == "windows"), "%", "%%") // % is ssh's own
	}
	line := []string{"-o", "ProxyCommand=" + strings.Join(words, " ") + " %p", "-o", "HostKeyAlias=" + device}
	if user != "" {
		line = append(line, "-l", user)
	}
	line = append(append(line, flags...), "--", device)
	return append(line, command...)
}

// sshEnv hands the sign-in to the proxy: arguments are seen by everybody.
func (a *app) sshEnv() []string {
	env := append(os.Environ(), "BOOTHWIRE_URL="+a.url, "BOOTHWIRE_CA="+a.ca)
	if a.token != "" {
		env = append(env, "BOOTHWIRE_TOKEN="+a.token)
	}
	return env
}

// quote makes one word of s for the shell that ssh hands ProxyCommand to.
func quote(s string, windows bool) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-=:@+,", r) || windows && r == '\\'
	}
	switch {
	case s != "" && strings.IndexFunc(s, func(r rune) bool { return !safe(r) }) < 0:
		return s
	case windows:
		return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"`
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
