package meter

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Counts are a part's own figures by name; those with labels are summed.
type Counts map[string]float64

const (
	scrapeFor = 5 * time.Second
	scrapeMax = 4 << 20 // bytes
)

// Scrape reads the figures that a part shows to Prometheus.
func Scrape(ctx context.Context, address string) (Counts, error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeFor)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics of %s: %s", address, res.Status)
	}
	return parse(io.LimitReader(res.Body, scrapeMax))
}

// parse reads the text format 0.0.4: name{labels} value. Our names begin with
// boothwire_, which is taken off; others are left out.
func parse(r io.Reader) (Counts, error) {
	c := make(Counts)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line, ours := strings.CutPrefix(lines.Text(), "boothwire_")
		if !ours {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		if at < 0 {
			return nil, fmt.Errorf("metrics: %q", line)
		}
		v, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metrics: %q", line)
		}
		name, _, _ := strings.Cut(line[:at], "{")
		c[name] += v
	}
	return c, lines.Err()
}
