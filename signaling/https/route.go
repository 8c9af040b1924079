package https

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	opCommands = "commands"
	opStatus   = "status"

	// A poll waits at most maxWait, whatever it asks for: a nonce outlasts it.
	maxWait  = 90 * time.Second
	maxQuery = 256
)

var (
	errPath  = errors.New("https: no such path")
	errQuery = errors.New("https: malformed query")
)

// call is what a request's line asks for.
type call struct {
	device, op string
	target     string // the signed path and query
	after      Mark
	wait       time.Duration
	retain     bool
}

// parseCall reads path and query. Whatever prefix the handler is mounted under is skipped.
func parseCall(method, path, query string) (call, error) {
	var c call
	parts := strings.Split(path, "/")
	if len(path) > 1024 || len(parts) < 4 {
		return c, errPath
	}
	parts = parts[len(parts)-4:]
	c.device, c.op = parts[2], parts[3]
	if parts[0] != "v1" || parts[1] != "devices" || !validID(c.device) {
		return c, errPath
	}
	switch {
	case c.op == opCommands && method == http.MethodGet:
	case c.op == opStatus && method == http.MethodPost:
	default:
		return c, errPath
	}
	c.target = target(c.device, c.op, query)
	return c, c.parseQuery(query)
}

// target is the signed form of path and query, on both ends.
func target(device, op, query string) string {
	t := "v1/devices/" + device + "/" + op
	if query != "" {
		t += "?" + query
	}
	return t
}

// parseQuery reads the parameters of the call: no escapes, since no value needs one, none
// twice; names of a later version are ignored.
func (c *call) parseQuery(query string) error {
	if len(query) > maxQuery {
		return errQuery
	}
	if query == "" {
		return nil
	}
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(query, "&") {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" || seen[name] || strings.ContainsAny(value, "%+=;") {
			return errQuery
		}
		seen[name] = true
		switch c.op + "." + name {
		case "commands.after":
			n, err := parseNumber(value)
			if err != nil {
				return errQuery
			}
			c.after.N = n
		case "commands.epoch":
			if !validEpoch(value) {
				return errQuery
			}
			c.after.Epoch = value
		case "commands.wait":
			s, err := parseNumber(value)
			if err != nil {
				return errQuery
			}
			c.wait = time.Duration(min(s, uint64(maxWait/time.Second))) * time.Second
		case "status.retain":
			if value != "0" && value != "1" {
				return errQuery
			}
			c.retain = value == "1"
		}
	}
	return nil
}

// parseNumber accepts the one decimal form that FormatUint writes.
func parseNumber(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return 0, errQuery
	}
	return n, nil
}

// commandsQuery is the query of a poll; a part of a second is a whole one.
func commandsQuery(after Mark, wait time.Duration) string {
	q := "after=" + strconv.FormatUint(after.N, 10)
	if after.Epoch != "" {
		q += "&epoch=" + after.Epoch
	}
	return q + "&wait=" + strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10)
}

func validID(s string) bool    { return len(s) >= 1 && plain(s) }
func validEpoch(s string) bool { return plain(s) }

// plain: at most 64 of the characters that ids are made of.
func plain(s string) bool {
	if len(s) > 64 {
		return false
	}
	for _, r := range s {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '_', r == '-':
		default:
			return false
		}
	}
	return true
}
