// Package mqtt carries signalling over an MQTT 5 connection of its own: a
// [Listener] for a device, a [Sender] for control. A host application that holds
// a connection already rides on that one instead (packages paho5 and paho3, or
// signaling.RideOn).
//
// The connection is TLS over TCP (mqtts) or WebSocket (wss), through a proxy
// where the environment names one. Commands travel at QoS 1 and expire after 60 s;
// a device keeps its broker session for 300 s, control none, since a worker of a
// shared subscription that is away with a kept session swallows its share. Every
// connection subscribes anew, whatever the broker says that it remembers.
//
// What a fleet needs beyond the client library is here: a first retry spread over
// a minute, patience with a second client of the same id, bounds on what a broker
// may send, and certificate dates that warn instead of refusing (package
// lenienttls says why).
package mqtt
