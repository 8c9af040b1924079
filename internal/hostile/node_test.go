package hostile

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
)

// nodeLine is the way between node and control, with somebody on it who adds lines
// to what control says.
type nodeLine struct {
	http.RoundTripper

	mu  sync.Mutex // over whole lines
	out *io.PipeWriter
}

func (l *nodeLine) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := l.RoundTripper.RoundTrip(r)
	if err != nil || !strings.HasSuffix(r.URL.Path, "/follow") {
		return res, err
	}
	in, out := io.Pipe()
	l.mu.Lock()
	l.out = out
	l.mu.Unlock()
	body := res.Body
	done := make(chan struct{})
	go func() {
		defer close(done)
		lines := bufio.NewScanner(body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			l.write(out, lines.Bytes())
		}
		out.CloseWithError(io.EOF)
	}()
	res.Body = &lineBody{in, func() { body.Close(); in.Close(); <-done }}
	return res, nil
}

type lineBody struct {
	io.Reader
	close func()
}

func (b *lineBody) Close() error { b.close(); return nil }

func (l *nodeLine) write(out *io.PipeWriter, line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = out.Write(append(append([]byte(nil), line...), '\n'))
}

// say adds a line of the given kind.
func (l *nodeLine) say(kind, session string, token []byte) {
	b := must(json.Marshal(map[string]string{"kind": kind, "session": session, "token": string(token)}))
	l.mu.Lock()
	out := l.out
	l.mu.Unlock()
	l.write(out, b)
}
