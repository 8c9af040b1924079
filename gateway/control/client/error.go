package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// Error is a refusal by control.
type Error struct {
	Status int        `json:"status"`           // of HTTP
	Code   string     `json:"code"`             // stable word, "busy" for one
	Title  string     `json:"title,omitempty"`  // the status in words
	Detail string     `json:"detail,omitempty"` // for people
	Lines  []BadLine  `json:"lines,omitempty"`  // of an import that was refused
	Fields []BadField `json:"fields,omitempty"` // of a request that was refused
}

// BadLine is one line of a CSV file that cannot be imported.
type BadLine struct {
	Line int    `json:"line"` // from 1
	Code string `json:"code"`
	Text string `json:"text"`
}

// BadField is one field that does not hold what it should.
type BadField struct {
	Field string `json:"field"`
	Text  string `json:"text"`
}

// Refuse returns a refusal with the title that HTTP has for its status.
func Refuse(status int, code, detail string) *Error {
	return &Error{Status: status, Code: code, Title: http.StatusText(status), Detail: detail}
}

// Error implements error.
func (e *Error) Error() string {
	if e.Detail == "" {
		return "control: " + e.Code
	}
	return "control: " + e.Code + ": " + e.Detail
}

// CodeOf is the stable code of err: that of an Error, or of what has a method Code() string,
// as refusals of keys, relays and devices do; "": it has none.
func CodeOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if e, ok := errors.AsType[interface {
		error
		Code() string
	}](err); ok {
		return e.Code()
	}
	return ""
}

// maxError bounds what is read of a refusal: an import names up to 1,000 lines.
const maxError = 256 << 10

// refusal reads the problem document (RFC 9457) of an answer.
func refusal(r *http.Response) error {
	e := &Error{Status: r.StatusCode}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxError))
	if err == nil {
		err = json.Unmarshal(body, e)
	}
	if err != nil || e.Code == "" {
		// Not control but something before it: a proxy, for one.
		*e = Error{Code: "http", Detail: fmt.Sprintf("answered %s", r.Status)}
	}
	e.Status = r.StatusCode
	return e
}
