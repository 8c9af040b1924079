// Package feed is the log from which those who watch the devices are told what has
// changed. It is pure: no clock, no goroutine, no lock.
package feed
