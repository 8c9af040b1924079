package client

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"iter"
)

// maxEvent bounds one event: a session with a full ladder and eight operators, or a
// thousand devices.
const maxEvent = 1 << 20

// event is one server-sent event.
type event struct {
	id   string
	data []byte
}

var errEventTooLong = errors.New("control: an event is too long")

// readEvents yields the events of a stream (HTML Living Standard, section 9.2)
// that carry data. A last one that is not complete is dropped, as the standard
// says; the end of the stream is no error.
func readEvents(r io.Reader) iter.Seq2[event, error] {
	return func(yield func(event, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, 0, 4096), maxEvent)
		var e event
		has := false
		for lines.Scan() {
			line := lines.Bytes()
			if len(line) == 0 {
				if has && !yield(e, nil) {
					return
				}
				e, has = event{id: e.id}, false
				continue
			}
			name, value, _ := bytes.Cut(line, []byte(":"))
			value = bytes.TrimPrefix(value, []byte(" "))
			switch string(name) {
			case "data":
				if len(e.data)+len(value) > maxEvent {
					yield(event{}, errEventTooLong)
					return
				}
				if has {
					e.data = append(e.data, '\n')
				}
				e.data = append(e.data, value...)
				has = true
			case "id":
				if bytes.IndexByte(value, 0) < 0 {
					e.id = string(value)
				}
			}
		}
		if err := lines.Err(); err != nil {
			if errors.Is(err, bufio.ErrTooLong) {
				err = errEventTooLong
			}
			yield(event{}, err)
		}
	}
}
