package control

import (
	"encoding/json"
	"unique"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/signaling"
)

// checksText is what a device says of its host, as it is kept.
func checksText(list []signaling.Check) string {
	if len(list) == 0 {
		return ""
	}
	text, err := json.Marshal(list)
	if err != nil {
		return ""
	}
	return string(text)
}

// checked takes what a device says of its host. Most of a fleet say the same, and share
// it, for as long as one of them has the handle.
func (d *device) checked(text string) {
	if text == d.row.Checks && text != "" {
		return
	}
	d.shared = unique.Make(text)
	d.row.Checks, d.failing = d.shared.Value(), nil
	for _, c := range checksOf(text) {
		if c.State == signaling.CheckFail {
			d.failing = append(d.failing, c.Check)
		}
	}
}

// checksOf is what checksText wrote, as the API has it. A state of a later release is one
// that this one does not know.
func checksOf(text string) (all []client.Check) {
	var list []signaling.Check
	if text == "" || json.Unmarshal([]byte(text), &list) != nil {
		return nil
	}
	for _, c := range list {
		switch c.State {
		case signaling.CheckOK, signaling.CheckWarn, signaling.CheckFail:
		default:
			c.State = signaling.CheckUnknown
		}
		all = append(all, client.Check{Check: c.Name, State: c.State, Code: c.Code, Detail: c.Detail})
	}
	return all
}
