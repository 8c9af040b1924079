package guac

import "io"

const frameSize = 32 << 10 // bytes that are gathered for one frame, about

// A Reader takes instructions from a stream. It is for one goroutine.
type Reader struct {
	r        io.Reader
	buf      []byte
	from, to int // what of buf was read and not taken
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: r, buf: make([]byte, frameSize)}
}

// Next waits for one instruction and returns its elements, valid until the next call.
func (r *Reader) Next() ([][]byte, error) {
	for {
		elements, n, err := Next(r.buf[r.from:r.to])
		if n > 0 || err != nil {
			r.from += n
			return elements, err
		}
		if err := r.more(); err != nil {
			return nil, err
		}
	}
}

// Frame waits for an instruction and returns it with those that came with it, none of
// them cut, valid until the next call.
func (r *Reader) Frame() ([]byte, error) {
	for {
		begin := r.from
		for {
			_, n, err := Next(r.buf[r.from:r.to])
			if err != nil {
				return nil, err
			}
			if n == 0 {
				break
			}
			r.from += n
		}
		if r.from > begin {
			return r.buf[begin:r.from], nil
		}
		if err := r.more(); err != nil {
			return nil, err
		}
	}
}

// more reads what is there, behind what is not whole yet.
func (r *Reader) more() error {
	r.to = copy(r.buf, r.buf[r.from:r.to])
	r.from = 0
	if r.to == len(r.buf) { // Next refuses what is longer than MaxInstruction
		r.buf = append(r.buf, make([]byte, len(r.buf))...)
	}
	n, err := r.r.Read(r.buf[r.to:])
	r.to += n
	if n > 0 {
		return nil
	}
	if err == io.EOF && r.to > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}
