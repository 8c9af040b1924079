package control

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/auth"
	"github.com/boothwire/boothwire/keys"
)

// maxBadLines bounds what a refused import names.
const maxBadLines = 1000

type badField struct{ code, text string }

// checkDevice says what is wrong with a device to be registered; nil: nothing.
func checkDevice(id, key, group string) *badField {
	switch {
	case id == "events":
		return &badField{"bad_id", "events is a word of the API's own"}
	case !keys.ValidID(id):
		return &badField{"bad_id", "an id is 1 to 64 of letters, digits, '.', '_' and '-'"}
	case group != "" && !keys.ValidID(group):
		return &badField{"bad_group", "a group is 1 to 64 of letters, digits, '.', '_' and '-'"}
	}
	if _, err := keys.ParseIdentityKey(key); err != nil {
		return &badField{"bad_key", "a key is 44 characters of base64, as the agent prints it"}
	}
	return nil
}

// readCSV reads devices: id,key or id,key,group in each line, and optionally a
// first line with those names.
func readCSV(data []byte) (list []entry, bad []client.BadLine) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff")))) // Excel's byte order mark
	r.FieldsPerRecord = -1
	r.TrimLeadingSpace = true
	r.ReuseRecord = true
	wrong := func(line int, code, text string) {
		if len(bad) < maxBadLines {
			bad = append(bad, client.BadLine{Line: line, Code: code, Text: text})
		}
	}
	first := make(map[string]int)
	for n := 0; ; n++ {
		rec, err := r.Read()
		if err == io.EOF {
			break
		}
		if e, ok := errors.AsType[*csv.ParseError](err); ok {
			wrong(e.Line, "bad_line", e.Err.Error())
			continue
		}
		if err != nil {
			wrong(n+1, "bad_line", "unreadable")
			break
		}
		line, _ := r.FieldPos(0)
		for i := range rec {
			rec[i] = strings.TrimSpace(rec[i])
		}
		if n == 0 && strings.EqualFold(rec[0], "id") {
			continue
		}
		if len(rec) < 2 || len(rec) > 3 {
			wrong(line, "bad_line", "a line has id,key or id,key,group")
			continue
		}
		e := entry{id: strings.Clone(rec[0])}
		if len(rec) == 3 {
			e.group = strings.Clone(rec[2])
		}
		if b := checkDevice(e.id, rec[1], e.group); b != nil {
			wrong(line, b.code, b.text)
			continue
		}
		e.key, _ = keys.ParseIdentityKey(rec[1])
		if at, ok := first[e.id]; ok {
			wrong(line, "repeated", "the id stands in line "+strconv.Itoa(at)+" already")
			continue
		}
		first[e.id] = line
		list = append(list, e)
	}
	return list, bad
}

// ImportDevices implements api.Backend.
func (b backend) ImportDevices(ctx context.Context, u auth.User, data []byte) (client.Import, error) {
	if err := b.may(u, auth.Manage); err != nil {
		return client.Import{}, err
	}
	list, bad := readCSV(data)
	if len(bad) == 0 && len(list) == 0 {
		bad = []client.BadLine{{Line: 1, Code: "bad_line", Text: "no device in it"}}
	}
	if len(bad) > 0 {
		return client.Import{}, &client.Error{
			Status: http.StatusUnprocessableEntity, Code: "bad_import", Title: http.StatusText(http.StatusUnprocessableEntity),
			Detail: "nothing was imported", Lines: bad,
		}
	}
	return b.c.register(ctx, u, list)
}
