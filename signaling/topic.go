package signaling

import "strings"

// The topics of a device; its id has no character that could change one.
const (
	topicPrefix  = "iot/"
	topicCommand = "/cmd"
	topicStatus  = "/status"
)

// topicOf returns a topic of device, and nothing for an id that is none.
func topicOf(device, kind string) string {
	if !validID(device) {
		return ""
	}
	return topicPrefix + device + kind
}

// deviceOf reads the device from a topic of that kind.
func deviceOf(topic, kind string) (string, bool) {
	rest, ok := strings.CutPrefix(topic, topicPrefix)
	if !ok {
		return "", false
	}
	device, ok := strings.CutSuffix(rest, kind)
	return device, ok && validID(device)
}
