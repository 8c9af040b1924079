// Package consoletest is a control, a node and devices in one process, all of them real,
// on a broker in memory: what a console stands beside. Tests of the console and of its
// rooms share it.
package consoletest
