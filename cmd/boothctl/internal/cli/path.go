package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/boothwire/boothwire/tunnel"
	"github.com/boothwire/boothwire/tunnel/operator"
)

// reason is why packets go by a kind of path, which the text begins with.
func reason(path, why string) string {
	if rest, ok := strings.CutPrefix(why, path+":"); ok && path != "" {
		return strings.TrimSpace(rest)
	}
	if why == path {
		return ""
	}
	return why
}

// spent is how long packets went by each kind of path, as people say it.
func spent(direct, relay time.Duration) string {
	var parts []string
	for _, p := range []struct {
		kind tunnel.PathKind
		took time.Duration
	}{{tunnel.Direct, direct}, {tunnel.Relay, relay}} {
		if p.took >= time.Second {
			parts = append(parts, fmt.Sprintf("%s %s", p.kind, p.took.Truncate(time.Second)))
		}
	}
	return strings.Join(parts, ", ")
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// followPath shows on stderr how the path of an open session moves, until ctx or the
// session ends.
func (a *app) followPath(ctx context.Context, s *operator.Session) {
	if a.quiet {
		return
	}
	at := s.Status().Tunnel
	m := mover{at.Path, reason(string(at.Path), at.Why)}
	for e := range s.Events(ctx) {
		switch e.Kind {
		case tunnel.EventPath, tunnel.EventWhy:
			now := s.Status().Tunnel
			if line := m.line(now.Path, now.Why); line != "" {
				fmt.Fprintln(a.err, clean(line))
			}
		}
	}
}

// A mover tells of each move of a path once, and of each new reason for it.
type mover struct {
	told   tunnel.PathKind
	reason string
}

// line is what there is to tell, empty if nothing.
func (m *mover) line(path tunnel.PathKind, why string) string {
	was, because := m.told, reason(string(path), why)
	if path == "" || path == was && (because == "" || because == m.reason) {
		return ""
	}
	m.told, m.reason = path, because
	line := "path: "
	if path != was && was != "" {
		line += string(was) + " -> "
	}
	line += string(path)
	if because != "" {
		line += " (" + because + ")"
	}
	return line
}
