package booth

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// What a booth's folder holds.
const (
	Log     = "logs/booth.log"    // what the engineer fetches
	Stuck   = "spool/job-0017.js" // the print job that stands in the way
	Printer = "printer.status"    // what the booth's screen would say
)

// Fill makes a booth's folder, whose log has exactly size bytes of lines that
// no compressor makes small.
func Fill(dir, device string, size int64) error {
	for _, sub := range []string{"logs", "spool"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, Stuck), []byte("%!PS photo strip, page 1 of 1\n"), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, Printer), []byte("cannot print: job 17 holds the queue\n"), 0o644); err != nil {
		return err
	}
	return fillLog(filepath.Join(dir, Log), device, size)
}

func fillLog(path, device string, size int64) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	at := time.Date(2026, 1, 1, 9, 0, 0, 0, time.UTC)
	for n := int64(0); n < size; {
		at = at.Add(time.Duration(rand.IntN(900)) * time.Millisecond)
		line := fmt.Sprintf("%s %s print job %016x%016x: cannot print, queue is stuck\n",
			at.Format(time.RFC3339Nano), device, rand.Uint64(), rand.Uint64())
		line = line[:min(int64(len(line)), size-n)]
		if _, err := w.WriteString(line); err != nil {
			return err
		}
		n += int64(len(line))
	}
	return w.Flush()
}

// Repair is what the booth itself does when its queue is free again: it prints,
// and says so. It reports whether the booth can print.
func Repair(dir string) (bool, error) {
	if _, err := os.Stat(filepath.Join(dir, Stuck)); err == nil {
		return false, nil
	} else if !os.IsNotExist(err) {
		return false, err
	}
	return true, os.WriteFile(filepath.Join(dir, Printer), []byte("ready\n"), 0o644)
}
