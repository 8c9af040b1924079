package story

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/boothwire/boothwire/cmd/boothwire-demo/internal/booth"
	"github.com/boothwire/boothwire/cmd/boothwire-demo/internal/fleet"
)

// fetch copies the booth's log over SFTP, with progress, and compares its hash
// with that of the file on the booth's own disk.
func (s *Story) fetch(shell *ssh.Client, k *fleet.Kiosk) error {
	files, err := sftp.NewClient(shell)
	if err != nil {
		return fmt.Errorf("sftp: %w", err)
	}
	defer files.Close()
	log, err := files.Open(booth.Log)
	if err != nil {
		return fmt.Errorf("sftp: %w", err)
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		return fmt.Errorf("sftp: %w", err)
	}
	s.say("\nThe engineer fetches %s (%d MiB) over SFTP, through the tunnel.", booth.Log, info.Size()>>20)
	got, bar, began := sha256.New(), &progress{s: s, total: info.Size()}, time.Now()
	n, err := log.WriteTo(io.MultiWriter(got, bar))
	if err != nil {
		return fmt.Errorf("sftp: %w", err)
	}
	took := time.Since(began)
	own, err := os.Open(filepath.Join(k.Dir, booth.Log))
	if err != nil {
		return err
	}
	defer own.Close()
	want := sha256.New()
	if _, err := io.Copy(want, own); err != nil {
		return err
	}
	if n != info.Size() || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		return fmt.Errorf("the log that arrived is another: %d bytes, SHA-256 %x, want %x", n, got.Sum(nil), want.Sum(nil))
	}
	s.say("  %d bytes in %v (%.0f Mbit/s), SHA-256 %x… as on the booth.", n, took.Round(time.Millisecond), float64(n)*8/took.Seconds()/1e6, got.Sum(nil)[:6])
	return nil
}

// progress shows each further eighth of a transfer.
type progress struct {
	s              *Story
	n, total, last int64
}

func (p *progress) Write(b []byte) (int, error) {
	p.n += int64(len(b))
	if step := p.n * 8 / p.total; step > p.last {
		p.last = step
		p.s.say("  [%-16s] %3d %%", strings.Repeat("#", int(2*step)), p.n*100/p.total)
	}
	return len(b), nil
}

// clear removes the job that holds the print queue and sees the booth print.
func (s *Story) clear(shell *ssh.Client, k *fleet.Kiosk) error {
	before, err := output(shell, "ls spool")
	if err != nil {
		return err
	}
	files, err := sftp.NewClient(shell)
	if err != nil {
		return fmt.Errorf("sftp: %w", err)
	}
	defer files.Close()
	if err := files.Remove(booth.Stuck); err != nil {
		return fmt.Errorf("clear the print queue: %w", err)
	}
	prints, err := booth.Repair(k.Dir)
	if err != nil {
		return err
	}
	if !prints {
		return errors.New("the booth still cannot print")
	}
	now, err := output(shell, "cat "+booth.Printer)
	if err != nil {
		return err
	}
	s.say("\nThe queue held %s; the engineer removed it. The printer says: %s.", before, now)
	return nil
}

func output(shell *ssh.Client, line string) (string, error) {
	session, err := shell.NewSession()
	if err != nil {
		return "", fmt.Errorf("ssh: %w", err)
	}
	defer session.Close()
	out, err := session.Output(line)
	if err != nil {
		return "", fmt.Errorf("ssh: %s: %w", line, err)
	}
	return strings.TrimSpace(string(out)), nil
}
