package worker

import (
	"encoding/binary"
	"io"
	"net"
	"time"
)

// listenBulk serves what stands for a device's files: whoever connects says with
// eight bytes, the highest first, how many bytes a second he wants (0: as fast as it
// goes), and gets them until he closes.
func listenBulk() (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go pour(c)
		}
	}()
	return l, nil
}

func pour(c net.Conn) {
	defer c.Close()
	var head [8]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return
	}
	rate := binary.BigEndian.Uint64(head[:])
	chunk := make([]byte, 16<<10)
	began, sent := time.Now(), uint64(0)
	for {
		if _, err := c.Write(chunk); err != nil {
			return
		}
		sent += uint64(len(chunk))
		if rate > 0 {
			time.Sleep(time.Duration(float64(sent)/float64(rate)*1e9) - time.Since(began))
		}
	}
}
