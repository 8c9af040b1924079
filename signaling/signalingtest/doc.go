// Package signalingtest is an MQTT broker in memory, for tests of what is built
// on package signaling: what it hands out are signaling's own rides, back to
// back, so that a test runs the code that a host runs. It keeps retained
// messages, queues for those who are offline, repeats QoS 1 messages on demand,
// lets each device at its own topics only, and can be told to be hostile. It
// starts no goroutine.
package signalingtest
