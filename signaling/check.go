package signaling

import (
	"encoding/json"
	"errors"
	"slices"
)

// Check is what a device found of one thing that a session needs of its host. It
// travels as [name, state], [name, state, code] or [name, state, code, detail].
type Check struct {
	Name   string // what was checked: a word of small letters, digits and '_'
	State  string // CheckOK, CheckWarn, CheckFail or CheckUnknown
	Code   string // why, a word like Name; may be empty
	Detail string // figures beside it, at most 64 letters, digits, spaces and characters of "._:/,+-[]"
}

// The states of a Check. Another one is of a later release.
const (
	CheckOK      = "ok"
	CheckWarn    = "warn"    // sessions open, and something in them does not work
	CheckFail    = "fail"    // sessions do not open, or reach nothing
	CheckUnknown = "unknown" // Code says why it was not checked
)

const (
	maxChecks = 16
	maxDetail = 64 // bytes
)

// valid reports whether a device of ours may say c.
func (c Check) valid() bool {
	return within(c.Name, 32, "_") && lower(c.Name) && within(c.State, 32, "_") && lower(c.State) &&
		(c.Code == "" || within(c.Code, 32, "_") && lower(c.Code)) &&
		(c.Detail == "" || within(c.Detail, maxDetail, "._:/,+-[] "))
}

// MarshalJSON writes c as it travels.
func (c Check) MarshalJSON() ([]byte, error) {
	list := []string{c.Name, c.State, c.Code, c.Detail}
	for len(list) > 2 && list[len(list)-1] == "" {
		list = list[:len(list)-1]
	}
	return json.Marshal(list)
}

// UnmarshalJSON reads what MarshalJSON writes, and what a later release writes behind it.
func (c *Check) UnmarshalJSON(b []byte) error {
	var list []json.RawMessage
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	if len(list) < 2 {
		return errors.New("a check of too few parts")
	}
	var got Check
	parts := []*string{&got.Name, &got.State, &got.Code, &got.Detail}
	for i, part := range list[:min(len(list), len(parts))] {
		if err := json.Unmarshal(part, parts[i]); err != nil {
			return err
		}
	}
	if !got.valid() {
		return errors.New("a check out of range")
	}
	*c = got
	return nil
}

// ourChecks are those of a host that may stand in a document.
func ourChecks(list []Check) []Check {
	var out []Check
	for _, c := range list {
		if !c.valid() {
			c.Detail = "" // it says something without its figures
		}
		if c.valid() && len(out) < maxChecks {
			out = append(out, c)
		}
	}
	return out
}

// withoutDetails are the same, shorter.
func withoutDetails(list []Check) []Check {
	list = slices.Clone(list)
	for i := range list {
		list[i].Detail = ""
	}
	return list
}
