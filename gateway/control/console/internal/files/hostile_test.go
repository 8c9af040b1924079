package files

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/boothwire/boothwire/gateway/control/console/internal/sshtest"
)

// message is one SFTP packet of a server.
func message(kind byte, id uint32, rest ...byte) []byte {
	body := append(binary.BigEndian.AppendUint32([]byte{kind}, id), rest...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// endless is a server whose folder has no end.
func endless(ch ssh.Channel, sent *atomic.Int64) {
	text := func(s string) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...) }
	entry := append(text("name of an entry"), text("")...)
	entry = append(entry, 0, 0, 0, 0)
	names := binary.BigEndian.AppendUint32(nil, 1000)
	for range 1000 {
		names = append(names, entry...)
	}
	for {
		var head [4]byte
		if _, err := io.ReadFull(ch, head[:]); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[:]))
		if _, err := io.ReadFull(ch, body); err != nil || len(body) < 5 {
			return
		}
		id, out := binary.BigEndian.Uint32(body[1:]), []byte(nil)
		switch body[0] {
		case 1: // init
			out = message(2, 3)
		case 11: // opendir
			out = message(102, id, text("h")...)
		case 12: // readdir
			out = message(104, id, names...)
		case 16: // realpath
			out = message(104, id, append(append([]byte{0, 0, 0, 1}, text("/home")...), 0, 0, 0, 0, 0, 0, 0, 0)...)
		default:
			out = message(101, id, append([]byte{0, 0, 0, 0}, append(text(""), text("")...)...)...)
		}
		n, err := ch.Write(out)
		sent.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// A folder without end is given up, and the next question is answered all the same.
func TestEndlessFolder(t *testing.T) {
	var sent atomic.Int64
	w := newWorld(t, sshtest.Config{Subsystem: func(ch ssh.Channel) { endless(ch, &sent) }}, Config{})
	for range 2 {
		if got := w.refused("GET", "/files", nil, "path", "/"); got != "folder_too_large" {
			t.Fatalf("%q", got)
		}
	}
	if n := sent.Load(); n > 3*lookBudget {
		t.Errorf("%d bytes were taken", n)
	}
}

// A request that is over gives back what it had of a server that answers nothing.
func TestMuteServer(t *testing.T) {
	asked := make(chan struct{}, 8)
	w := newWorld(t, sshtest.Config{Subsystem: func(ch ssh.Channel) {
		buf := make([]byte, 9)
		io.ReadFull(ch, buf)
		ch.Write(message(2, 3))
		asked <- struct{}{}
		io.Copy(io.Discard, ch)
	}}, Config{})
	for range 2 {
		ctx, cancel := context.WithCancel(context.Background())
		r, _ := http.NewRequestWithContext(ctx, "GET", w.url+"/s/files?path=/", nil)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if a, err := http.DefaultClient.Do(r); err == nil {
				a.Body.Close()
			}
		}()
		<-asked
		cancel()
		<-done
	}
}

// What a server says, whatever it is, neither ends the process nor makes a name that
// leads elsewhere.
func FuzzServer(f *testing.F) {
	hello := message(2, 3)
	f.Add(append(hello, message(101, 1, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0)...))
	f.Add(append(hello, message(104, 1, 0, 0, 0, 1, 0, 0, 0, 2, '.', '.', 0, 0, 0, 0, 0, 0, 0, 0)...))
	f.Add(append(append(hello, message(102, 1, 0, 0, 0, 1, 'h')...), message(104, 2, 0, 0, 0, 1, 0, 0, 0, 3, 'a', '/', 'b', 0, 0, 0, 0, 255, 255, 255, 255)...))
	f.Add(append(append(hello, message(102, 1, 0, 0, 0, 1, 'h')...), message(103, 2, 255, 255, 255, 255, 'x')...))
	f.Add(append(hello, message(105, 1, 0, 0, 0, 15, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0)...))
	f.Fuzz(func(t *testing.T, says []byte) {
		for _, ask := range []func(*lease){
			func(l *lease) {
				all, _ := l.ReadDir("/")
				var list folder
				list.fill(all, 0, maxLimit)
				for _, e := range list.Entries {
					if !goodName(e.Name) {
						t.Errorf("%q", e.Name)
					}
				}
			},
			func(l *lease) { l.free("/a", false); l.Getwd() },
			func(l *lease) {
				if f, size, _, err := l.openFile("/a"); err == nil {
					io.Copy(io.Discard, &blocks{file: f, size: min(size, 3*packet), next: func() {}})
				}
			},
			func(l *lease) {
				if f, err := l.OpenFile("/a", os.O_WRONLY); err == nil {
					f.WriteAt(make([]byte, 3*packet), 0)
				}
			},
			func(l *lease) { l.PosixRename("/a", "/b"); l.Mkdir("/a"); l.Remove("/a") },
		} {
			done := make(chan struct{})
			go func() {
				defer close(done)
				c, err := sftp.NewClientPipe(bytes.NewReader(says), discard{}, sftp.UseConcurrentWrites(true))
				if err != nil {
					return
				}
				defer c.Close()
				ask(&lease{Client: c})
			}()
			select {
			case <-done:
			case <-time.After(time.Minute):
				t.Fatal("it waits for what does not come")
			}
		}
	})
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) Close() error                { return nil }
