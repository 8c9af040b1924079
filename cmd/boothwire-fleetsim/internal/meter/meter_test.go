package meter

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	line := "42 (a) b ( c)) S 1 42 42 0 -1 4194560 100 0 0 0 250 150 0 0 20 0 9 0 1000 123456 77 18446744073709551615 1 1 0 0\n"
	u, err := parseStat([]byte(line))
	if err != nil || u.CPU != 4*time.Second || u.RSS != int64(77*os.Getpagesize()) {
		t.Errorf("got %+v, %v", u, err)
	}
	for _, bad := range []string{"", "42 (a", "42 (a) S 1", strings.Replace(line, "250", "x", 1)} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestParseBusy(t *testing.T) {
	got, err := parseBusy([]byte("cpu  100 10 50 9999 888 1 2 37 0 0\ncpu0 1 1 1 1\n"))
	if err != nil || got != 2*time.Second {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := parseBusy([]byte("cpux")); err == nil {
		t.Error("nonsense was taken")
	}
}

func TestReadUseOfThisProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc")
	}
	if u, err := ReadUse(os.Getpid()); err != nil || u.RSS < 1<<20 {
		t.Errorf("got %+v, %v", u, err)
	}
	if _, err := ReadUse(-1); err == nil {
		t.Error("a process that does not exist")
	}
}

func TestParseMetrics(t *testing.T) {
	c, err := parse(strings.NewReader(`# HELP boothwire_node_sessions Sessions in force.
boothwire_node_sessions 3
boothwire_node_dropped_packets_total{reason="a b"} 4
boothwire_node_dropped_packets_total{reason="c"} 5e0
go_goroutines 7
`))
	if err != nil || len(c) != 2 || c["node_sessions"] != 3 || c["node_dropped_packets_total"] != 9 {
		t.Errorf("got %v, %v", c, err)
	}
	if _, err := parse(strings.NewReader("boothwire_x y\n")); err == nil {
		t.Error("nonsense was taken")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("boothwire_a{b=\"c\"} 1\n")
	f.Fuzz(func(t *testing.T, s string) {
		parse(strings.NewReader(s))
		parseStat([]byte(s))
		parseBusy([]byte(s))
	})
}
