// Package parts runs the deployment that is put under load: Mosquitto,
// boothwire-control and nodes as shipped, each in a process of its own on loopback,
// with files in one folder that is thrown away with it.
package parts
