package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/boothwire/boothwire/keys"
)

// Config of a Client; its zero value works.
type Config struct {
	Token string       // bearer token
	HTTP  *http.Client // default: http.DefaultClient; must have no Timeout if sessions are watched
}

// Client calls a control. It is safe for concurrent use and needs no closing. What
// control refuses is an *Error.
type Client struct {
	url   string
	token string
	http  *http.Client
}

// New returns a client of the control at url, "https://control.example.com" for
// one.
func New(url string, cfg *Config) *Client {
	c := &Client{url: strings.TrimRight(url, "/"), http: http.DefaultClient}
	if cfg != nil {
		c.token = cfg.Token
		c.http = cmp.Or(cfg.HTTP, c.http)
	}
	return c
}

// maxAnswer bounds an answer: a page of 1,000 sessions with their ladders.
const maxAnswer = 16 << 20

func (c *Client) request(ctx context.Context, method, path string, query url.Values, body []byte, kind string) (*http.Response, error) {
	target := c.url + "/api/v1" + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, r)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", kind)
	}
	req.Header.Set("Accept", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	if res.StatusCode >= 300 {
		defer res.Body.Close()
		return nil, refusal(res)
	}
	return res, nil
}

// call sends in, unless nil, as JSON and reads the answer into out, unless nil.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("control: %w", err)
		}
	}
	res, err := c.request(ctx, method, path, query, body, "application/json")
	if err != nil {
		return err
	}
	return answer(res, out)
}

func answer(res *http.Response, out any) error {
	defer res.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("control: read the answer: %w", err)
	}
	return nil
}

// page is one page of a list.
type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
}

// list yields all pages of a list.
func list[T any](ctx context.Context, c *Client, path string, query url.Values) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		q := url.Values{}
		for k, v := range query {
			q[k] = v
		}
		for {
			var p page[T]
			if err := c.call(ctx, http.MethodGet, path, q, nil, &p); err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range p.Items {
				if !yield(item, nil) {
					return
				}
			}
			if p.Next == "" {
				return
			}
			q.Set("after", p.Next)
		}
	}
}

// Filter narrows a list; its zero value does not. Fields that a list does not have
// are ignored.
type Filter struct {
	Device  string    // sessions, audit: of this device
	Group   string    // devices: of this group
	Session string    // audit: of this session
	Who     string    // audit: that he did
	What    string    // audit: of this kind
	Since   time.Time // audit: not before
	Until   time.Time // audit: before
	Text    string    // devices: whose id contains it; audit: any of whose texts does
	Open    bool      // sessions: that are not over
	Limit   int       // at most so many in a page; 0: 500
}

func (f Filter) query() url.Values {
	q := url.Values{}
	for k, v := range map[string]string{"device": f.Device, "group": f.Group, "session": f.Session, "text": f.Text, "who": f.Who, "what": f.What} {
		if v != "" {
			q.Set(k, v)
		}
	}
	for k, at := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !at.IsZero() {
			q.Set(k, at.UTC().Format(time.RFC3339Nano))
		}
	}
	if f.Open {
		q.Set("open", "true")
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	return q
}

// Devices yields the devices by id.
func (c *Client) Devices(ctx context.Context, f Filter) iter.Seq2[Device, error] {
	return list[Device](ctx, c, "/devices", f.query())
}

// WatchDevices yields the devices as they are, 1,000 in an item at most, then those that
// change, four times a second at most, until ctx ends. A device of which nothing is new
// but that it was heard is yielded about once a minute. When the connection breaks it
// goes on where it was, if that is not too long ago; else it begins anew, with a Reset.
// It ends with an error only when control refuses or ctx ends.
func (c *Client) WatchDevices(ctx context.Context) iter.Seq2[DeviceEvents, error] {
	return watch(ctx, c, "/devices/events", func(*DeviceEvents) bool { return false })
}

// Device returns one device.
func (c *Client) Device(ctx context.Context, id string) (d Device, err error) {
	err = c.call(ctx, http.MethodGet, "/devices/"+url.PathEscape(id), nil, nil, &d)
	return d, err
}

// AddDevice registers a device by its identity key, or changes its key.
func (c *Client) AddDevice(ctx context.Context, id string, key keys.IdentityKey) (Device, error) {
	return c.PutDevice(ctx, id, &DeviceRequest{Key: key})
}

// PutDevice registers a device or changes it.
func (c *Client) PutDevice(ctx context.Context, id string, r *DeviceRequest) (d Device, err error) {
	err = c.call(ctx, http.MethodPut, "/devices/"+url.PathEscape(id), nil, r, &d)
	return d, err
}

// DeleteDevice removes a device; its open session is closed.
func (c *Client) DeleteDevice(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/devices/"+url.PathEscape(id), nil, nil, nil)
}

// ImportDevices registers the devices of a CSV file with the columns id, key and,
// optionally, group: all of them or, when a line is wrong, none; then *Error has
// the Lines.
func (c *Client) ImportDevices(ctx context.Context, csv io.Reader) (i Import, err error) {
	body, err := io.ReadAll(csv)
	if err != nil {
		return i, fmt.Errorf("control: read the file: %w", err)
	}
	res, err := c.request(ctx, http.MethodPost, "/devices:import", nil, body, "text/csv")
	if err != nil {
		return i, err
	}
	return i, answer(res, &i)
}

// Nodes yields the nodes by name.
func (c *Client) Nodes(ctx context.Context) iter.Seq2[Node, error] {
	return list[Node](ctx, c, "/nodes", nil)
}

// ClaimNode makes a claim with which one node may enrol under name, once, within
// an hour. A node of that name that is enrolled keeps its place until then.
func (c *Client) ClaimNode(ctx context.Context, name string) (k Claim, err error) {
	err = c.call(ctx, http.MethodPost, "/nodes", nil, map[string]string{"name": name}, &k)
	return k, err
}

// DrainNode gives a node no new sessions, or again some. Those that it has go on, there
// or, if r says so, at other nodes; connections through them stay.
func (c *Client) DrainNode(ctx context.Context, name string, r DrainRequest) (n Node, err error) {
	err = c.call(ctx, http.MethodPost, "/nodes/"+url.PathEscape(name)+"/drain", nil, r, &n)
	return n, err
}

// DeleteNode removes a node; its sessions are closed.
func (c *Client) DeleteNode(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, "/nodes/"+url.PathEscape(name), nil, nil, nil)
}

// Audit yields the audit rows, the latest first.
func (c *Client) Audit(ctx context.Context, f Filter) iter.Seq2[Audit, error] {
	return list[Audit](ctx, c, "/audit", f.query())
}

// The formats of ExportAudit.
const (
	CSV    = "csv"    // a line of names, then a line for each row
	NDJSON = "ndjson" // an Audit in JSON in each line
)

// ExportAudit writes the audit rows to w, the latest first. After an error what was
// written is not all.
func (c *Client) ExportAudit(ctx context.Context, f Filter, format string, w io.Writer) error {
	q := f.query()
	q.Del("limit")
	q.Set("format", format)
	res, err := c.request(ctx, http.MethodGet, "/audit/export", q, nil, "")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(w, res.Body); err != nil {
		return fmt.Errorf("control: the audit: %w", err)
	}
	return nil
}

// Trust returns the deployment's name and its roots.
func (c *Client) Trust(ctx context.Context) (t Trust, err error) {
	err = c.call(ctx, http.MethodGet, "/trust", nil, nil, &t)
	return t, err
}

// Tokens yields the tokens, without their secrets.
func (c *Client) Tokens(ctx context.Context) iter.Seq2[Token, error] {
	return list[Token](ctx, c, "/tokens", nil)
}

// CreateToken makes a token; only this answer has its secret.
func (c *Client) CreateToken(ctx context.Context, r *TokenRequest) (t Token, err error) {
	err = c.call(ctx, http.MethodPost, "/tokens", nil, r, &t)
	return t, err
}

// DeleteToken revokes a token.
func (c *Client) DeleteToken(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/tokens/"+url.PathEscape(id), nil, nil, nil)
}
