package https

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Whoever announces a body and sends none of it does not keep his connection, whatever
// the handler makes of the request.
func TestBodyThatNeverComes(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"refused unread": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"long answer":    func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("x", 1<<16)) },
		"read":           func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) },
		"a form":         func(_ http.ResponseWriter, r *http.Request) { r.ParseForm() },
		"deadline lifted": func(w http.ResponseWriter, _ *http.Request) {
			http.NewResponseController(w).SetReadDeadline(time.Time{})
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		},
	} {
		for how, length := range map[string]string{"of a length": "Content-Length: 1000", "in chunks": "Transfer-Encoding: chunked"} {
			t.Run(name+" "+how, func(t *testing.T) {
				t.Parallel()
				s := httptest.NewServer(timely(h, 50*time.Millisecond))
				defer s.Close()
				c, err := net.Dial("tcp", s.Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"+length+"\r\n\r\n")
				c.SetReadDeadline(time.Now().Add(20 * time.Second))
				if _, err := io.Copy(io.Discard, c); err != nil {
					t.Errorf("the connection stays: %v", err)
				}
			})
		}
	}
}

// A handler may give a body more time as it reads, and take its own when it has it.
func TestBodyInTime(t *testing.T) {
	const patience = 200 * time.Millisecond
	slow := func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(20 * time.Second))
		text, err := io.ReadAll(r.Body)
		select {
		case <-r.Context().Done():
			err = context.Cause(r.Context())
		case <-time.After(2 * patience):
		}
		if err != nil || string(text) != "ab" {
			w.WriteHeader(http.StatusTeapot)
		}
	}
	s := httptest.NewServer(timely(http.HandlerFunc(slow), patience))
	defer s.Close()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answers := bufio.NewReader(c)
	for range 2 { // the connection is good for more
		io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na")
		time.Sleep(2 * patience)
		io.WriteString(c, "b")
		res, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode != http.StatusOK {
			t.Errorf("answered %s", res.Status)
		}
	}
}

// Server bounds bodies so.
func TestServerBoundsBodies(t *testing.T) {
	w := &deadlined{ResponseRecorder: httptest.NewRecorder()}
	Server(http.NotFoundHandler()).Handler.ServeHTTP(w, httptest.NewRequest("POST", "/", strings.NewReader("x")))
	if left := time.Until(w.at); left <= 0 || left > bodyPatience {
		t.Errorf("a body has %v", left)
	}
}

type deadlined struct {
	*httptest.ResponseRecorder
	at time.Time
}

func (d *deadlined) SetReadDeadline(at time.Time) error { d.at = at; return nil }
