package api

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/boothwire/boothwire/gateway/control/client"
)

// AuditFilter narrows the audit.
type AuditFilter struct {
	Device  string    `query:"device" maxLength:"64"`
	Session string    `query:"session" maxLength:"64"`
	Who     string    `query:"who" maxLength:"100"`
	What    string    `query:"what" maxLength:"32"`
	Since   time.Time `query:"since" doc:"Not before"`
	Until   time.Time `query:"until" doc:"Before"`
	Text    string    `query:"text" maxLength:"100" doc:"Contained in any of the texts, in whatever case"`
}

// AuditQuery is an AuditFilter and a page of what is left.
type AuditQuery struct {
	AuditFilter
	After string `query:"after" maxLength:"20" doc:"The next of the page before"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"500"`
}

func (s *service) audit() {
	const tag = "audit"
	huma.Register(s.api, operation(http.MethodGet, "/audit", "list-audit", "List what happened, the latest first; where a text is looked for, a page may be short and not the last", tag),
		func(ctx context.Context, in *AuditQuery) (*body[List[client.Audit]], error) {
			return page(s.b.Audit(ctx, userOf(ctx), *in))
		})
	op := operation(http.MethodGet, "/audit/export", "export-audit", "Download what happened, the latest first", tag)
	op.Responses = map[string]*huma.Response{"200": {
		Description: "All of it. An answer that breaks off is not complete",
		Content: map[string]*huma.MediaType{
			"text/csv":             {Schema: &huma.Schema{Type: huma.TypeString, Description: "A line of names, then one for each row; before what a spreadsheet would take for a formula stands an apostrophe"}},
			"application/x-ndjson": {Schema: &huma.Schema{Type: huma.TypeString, Description: "An Audit in JSON in each line"}},
		},
	}}
	huma.Register(s.api, op, func(ctx context.Context, in *struct {
		AuditFilter
		Format string `query:"format" enum:"csv,ndjson" default:"csv"`
	}) (*huma.StreamResponse, error) {
		q := AuditQuery{AuditFilter: in.AuditFilter, Limit: exportPage}
		rows, next, err := s.b.Audit(ctx, userOf(ctx), q)
		if err != nil {
			return nil, refused(err)
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			r, w := humago.Unwrap(hc)
			s.export(r, w, in.Format, q, rows, next)
		}}, nil
	})
}

// exportPage is how many rows are read at a time.
const exportPage = 1000

// auditWriter writes rows in a format.
type auditWriter interface {
	write(rows []client.Audit) error
}

// export writes page after page. What breaks off must not look whole.
func (s *service) export(r *http.Request, w http.ResponseWriter, format string, q AuditQuery, rows []client.Audit, next string) {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{})
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Disposition", `attachment; filename="audit.`+format+`"`)
	h.Set("X-Content-Type-Options", "nosniff")
	var out auditWriter = &auditCSV{w: csv.NewWriter(w)}
	if h.Set("Content-Type", "text/csv; charset=utf-8"); format == "ndjson" {
		h.Set("Content-Type", "application/x-ndjson")
		out = auditLines{json.NewEncoder(w)}
	}
	for {
		_ = rc.SetWriteDeadline(time.Now().Add(writeLimit))
		err := out.write(rows)
		if err == nil {
			_ = rc.Flush()
		}
		if err == nil && next == "" {
			_ = rc.SetWriteDeadline(time.Time{})
			return
		}
		// The token may have ended meanwhile.
		u, refused := s.b.Authenticate(r)
		if err == nil && refused == nil {
			q.After = next
			rows, next, err = s.b.Audit(r.Context(), u, q)
		}
		if err != nil || refused != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

// auditLines is JSON, a row in each line.
type auditLines struct{ enc *json.Encoder }

func (l auditLines) write(rows []client.Audit) error {
	for _, a := range rows {
		if err := l.enc.Encode(a); err != nil {
			return err
		}
	}
	return nil
}

// auditCSV is RFC 4180, after a line of names.
type auditCSV struct {
	w     *csv.Writer
	named bool
}

func (c *auditCSV) write(rows []client.Audit) error {
	if !c.named {
		c.named = true
		_ = c.w.Write([]string{"id", "at", "who", "what", "device", "session", "node", "code", "count", "rx", "tx", "detail"})
	}
	for _, a := range rows {
		_ = c.w.Write([]string{
			strconv.FormatInt(a.ID, 10), a.At.UTC().Format(time.RFC3339Nano), plain(a.Who), plain(a.What), plain(a.Device), plain(a.Session),
			plain(a.Node), plain(a.Code), strconv.Itoa(a.Count), strconv.FormatUint(a.Rx, 10), strconv.FormatUint(a.Tx, 10), plain(a.Detail),
		})
	}
	c.w.Flush() // it keeps the first error
	return c.w.Error()
}

// plain is a text that no spreadsheet takes for a formula, nor a part of it behind what
// some split lines at: where a comma stands in numbers, that is a semicolon, inside quotes
// too. Users and devices make up some of the texts.
func plain(text string) string {
	var b strings.Builder
	for from := 0; from < len(text); {
		cell := text[from:]
		if end := strings.IndexAny(cell, ";\t\r\n"); end >= 0 {
			cell = cell[:end+1]
		}
		if isFormula(cell) || from == 0 && strings.ContainsAny(cell[:1], "\t\r\n") {
			b.WriteByte('\'')
		}
		b.WriteString(cell)
		from += len(cell)
	}
	return b.String()
}

func isFormula(cell string) bool {
	start := strings.TrimLeft(cell, " \u00a0\u3000")
	return start != "" && strings.ContainsRune("=+-@＝＋－＠", []rune(start)[0])
}
