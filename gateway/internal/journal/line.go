package journal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
)

// The file, in lines that end with a line feed; a later line of a key counts:
//
//	boothwire journal 1
//	CRC KEY VALUE        the key has that value now
//	CRC KEY              the key has none now
//	#...                 struck out, counts for nothing
//
// CRC is the CRC-32C of all that stands between the space after it and the line
// feed, in 8 lower-case hex digits. A line that is not so, such as one that a kill
// or a loss of power tore, counts for nothing.
const header = "boothwire journal 1\n"

// Limits of a line, bytes.
const (
	MaxKey   = 80
	MaxValue = 128 << 10 // without a line feed
	maxLine  = 8 + 1 + MaxKey + 1 + MaxValue + 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errLine says that a line is not of a journal.
var errLine = errors.New("journal: not a line of a journal")

// format writes the line of a key and its value, nil: it has none.
func format(key string, value []byte) string {
	said := []byte(key)
	if value != nil {
		said = append(append(said, ' '), value...)
	}
	return fmt.Sprintf("%08x %s\n", crc32.Checksum(said, castagnoli), said)
}

// parse reads a line without its line feed; value is nil when the key has none.
func parse(line []byte) (key string, value []byte, err error) {
	if len(line) < 10 || len(line) >= maxLine || line[8] != ' ' {
		return "", nil, errLine
	}
	said := line[9:]
	sum, err := strconv.ParseUint(string(line[:8]), 16, 32)
	if err != nil || uint32(sum) != crc32.Checksum(said, castagnoli) || bytes.ContainsAny(line[:8], "ABCDEF") {
		return "", nil, errLine
	}
	k, value, has := bytes.Cut(said, []byte(" "))
	if !validKey(k) || len(value) > MaxValue {
		return "", nil, errLine
	}
	if !has {
		value = nil
	}
	return string(k), value, nil
}

func validKey(k []byte) bool {
	for _, c := range k {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(k) > 0 && len(k) <= MaxKey
}

// contents is what a file says.
type contents struct {
	live    map[string]slot
	size    int64 // up to the last line feed
	damaged int   // lines
}

// slot is a key's latest line.
type slot struct {
	line string
	at   int64 // its place in the file; -1: it is not there
}

// errForeign says that a file is something else.
var errForeign = errors.New("journal: the file is no journal")

// read reads a whole file; an empty one says nothing. Memory is bounded by what
// the file's latest lines hold.
func read(r io.Reader) (contents, error) {
	c := contents{live: make(map[string]slot)}
	in := bufio.NewReaderSize(r, maxLine)
	first := true
	for {
		line, err := in.ReadSlice('\n')
		at := c.size
		switch {
		case err == io.EOF:
			if len(line) > 0 {
				c.damaged++ // torn
			}
			if first && len(line) > 0 {
				return c, errForeign
			}
			return c, nil
		case first && string(line) != header:
			return c, errForeign
		case first:
			first = false
			c.size += int64(len(line))
			continue
		case err == bufio.ErrBufferFull:
			n, skipped := skip(in)
			if skipped != nil && skipped != io.EOF {
				return c, skipped
			}
			c.damaged++
			if skipped == io.EOF {
				return c, nil
			}
			c.size += int64(len(line)) + n
			continue
		case err != nil:
			return c, err
		}
		c.size += int64(len(line))
		if line[0] == struckOut {
			continue
		}
		key, value, err := parse(line[:len(line)-1])
		switch {
		case err != nil:
			c.damaged++
		case value == nil:
			delete(c.live, key)
		default:
			c.live[key] = slot{line: string(line), at: at}
		}
	}
}

// skip passes over the rest of a line.
func skip(in *bufio.Reader) (n int64, err error) {
	for {
		rest, err := in.ReadSlice('\n')
		n += int64(len(rest))
		if err != bufio.ErrBufferFull {
			return n, err
		}
	}
}

// struckOut begins a line that counts for nothing.
const struckOut = '#'
