package netlab

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Snapshot is what a session could leave on a host: one line each of what it
// has, sorted, without the counters that change by themselves.
type Snapshot map[string][]string

// Snapshot reads the host's sockets (TIME-WAIT aside), interfaces, addresses,
// routes and nftables rules (without counters, and without what rules have
// learned), and the open files of the named processes.
func (h *Host) Snapshot(pids map[string]int) Snapshot {
	h.lab.t.Helper()
	s := Snapshot{
		"sockets":    h.sockets(),
		"interfaces": lines(strip(h.Run("ip", "-o", "link"), ` (state|qlen) \S+|<\S+>`)),
		"addresses":  lines(strip(h.Run("ip", "-o", "addr"), `valid_lft \S+ preferred_lft \S+`)),
		"routes":     lines(h.Run("ip", "route", "show", "table", "all") + h.Run("ip", "-6", "route", "show", "table", "all")),
		"nftables":   lines(h.Run("nft", "--stateless", "--terse", "list", "ruleset")),
	}
	for name, pid := range pids {
		s["files of "+name] = files(pid)
	}
	return s
}

func (h *Host) sockets() []string {
	var all []string
	for _, l := range lines(h.Run("ss", "-H", "-tunap")) {
		f := strings.Fields(l)
		if len(f) < 6 || f[1] == "TIME-WAIT" {
			continue
		}
		// Queues and file numbers say nothing about what is left, nor does which of the
		// ports of the moment a connection has: it may have been made anew.
		who := strip(strings.Join(f[6:], " "), `,fd=\d+`)
		all = append(all, strings.Join([]string{f[0], f[1], anyPort(f[4]), anyPort(f[5]), who}, " "))
	}
	slices.Sort(all)
	return all
}

// anyPort is an address without its port, where that is one that Linux gives.
func anyPort(addr string) string {
	i := strings.LastIndexByte(addr, ':')
	if n, err := strconv.Atoi(addr[i+1:]); err != nil || n < 32768 || n > 60999 {
		return addr
	}
	return addr[:i] + ":any"
}

// files lists a process's open files by kind, because their numbers and sockets'
// inodes differ from run to run.
func files(pid int) []string {
	var all []string
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	for _, e := range entries {
		target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, e.Name()))
		if err == nil {
			all = append(all, strip(target, `:\[\d+\]$`))
		}
	}
	slices.Sort(all)
	return all
}

// Diff says what differs between two snapshots of one host, a line each: "+" is
// new, "-" is gone.
func (s Snapshot) Diff(after Snapshot) []string {
	var diff []string
	for part := range union(s, after) {
		for _, l := range minus(after[part], s[part]) {
			diff = append(diff, part+" + "+l)
		}
		for _, l := range minus(s[part], after[part]) {
			diff = append(diff, part+" - "+l)
		}
	}
	slices.Sort(diff)
	return diff
}

// Left is Diff without sockets and files that are gone: an idle connection may end when
// it likes.
func (s Snapshot) Left(after Snapshot) []string {
	return slices.DeleteFunc(s.Diff(after), func(l string) bool {
		return strings.HasPrefix(l, "sockets - ") || strings.HasPrefix(l, "files of ") && strings.Contains(l, " - ")
	})
}

func union(a, b Snapshot) map[string]bool {
	keys := make(map[string]bool)
	for k := range a {
		keys[k] = true
	}
	for k := range b {
		keys[k] = true
	}
	return keys
}

// minus is what a has and b has not, each line as often as it stands there.
func minus(a, b []string) []string {
	have := make(map[string]int)
	for _, l := range b {
		have[l]++
	}
	var rest []string
	for _, l := range a {
		if have[l]--; have[l] < 0 {
			rest = append(rest, l)
		}
	}
	return rest
}

func strip(s, pattern string) string { return regexp.MustCompile(pattern).ReplaceAllString(s, "") }

func lines(s string) []string {
	var all []string
	for l := range strings.Lines(s) {
		if l = strings.TrimSpace(l); l != "" {
			all = append(all, l)
		}
	}
	slices.Sort(all)
	return all
}
