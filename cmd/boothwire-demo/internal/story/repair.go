package story

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/boothwire/boothwire/cmd/boothwire-demo/internal/booth"
	"github.com/boothwire/boothwire/cmd/boothwire-demo/internal/fleet"
	"github.com/boothwire/boothwire/tunnel/operator"
)

// shell signs in at the booth.
func (s *Story) shell(ctx context.Context, f *fleet.Fleet, k *fleet.Kiosk, session *operator.Session) (*ssh.Client, error) {
	conn, err := session.Dial(ctx, "tcp", ":22")
	if err != nil {
		return nil, fmt.Errorf("dial ssh: %w", err)
	}
	// One process: the host key is known, where boothctl ssh asks its known_hosts.
	c, channels, requests, err := ssh.NewClientConn(conn, k.ID, &ssh.ClientConfig{
		User:            "engineer",
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(f.Signer)},
		HostKeyCallback: ssh.FixedHostKey(k.SSH.HostKey()),
		Timeout:         calm,
	})
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("ssh: %w", err)
	}
	return ssh.NewClient(c, channels, requests), nil
}

// fetch copies the booth's log over SFTP, with progress, and compares its hash
// with that of the file on the booth's own disk. It calls half in the middle.
func (s *Story) fetch(shell *ssh.Client, k *fleet.Kiosk, half func()) error {
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
	s.say("\nThe engineer fetches %s (%.1f MiB) over SFTP, through the tunnel.", booth.Log, float64(info.Size())/(1<<20))
	got, bar, began := sha256.New(), &progress{s: s, total: info.Size(), half: half}, time.Now()
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
	half           func() // called once half of it is there
}

func (p *progress) Write(b []byte) (int, error) {
	p.n += int64(len(b))
	if step := p.n * 8 / p.total; step > p.last {
		if step >= 4 && p.last < 4 {
			p.half()
		}
		p.last = step
		p.s.say("  [%-16s] %3d %%", strings.Repeat("#", int(2*step)), p.n*100/p.total)
	}
	return len(b), nil
}

// clear removes the job that holds the print queue and sees the booth print. It
// uses SFTP alone: a booth's shell is cmd.exe here and sh there.
func (s *Story) clear(shell *ssh.Client, k *fleet.Kiosk) error {
	files, err := sftp.NewClient(shell)
	if err != nil {
		return fmt.Errorf("sftp: %w", err)
	}
	defer files.Close()
	jobs, err := files.ReadDir(path.Dir(booth.Stuck))
	if err != nil {
		return fmt.Errorf("look into the print queue: %w", err)
	}
	if len(jobs) != 1 {
		return fmt.Errorf("the print queue holds %d jobs, not the one that is stuck", len(jobs))
	}
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
	printer, err := files.Open(booth.Printer)
	if err != nil {
		return fmt.Errorf("read the printer's state: %w", err)
	}
	defer printer.Close()
	now, err := io.ReadAll(printer)
	if err != nil {
		return fmt.Errorf("read the printer's state: %w", err)
	}
	s.say("\nThe queue held %s; the engineer removed it. The printer says: %s.", jobs[0].Name(), strings.TrimSpace(string(now)))
	return nil
}
