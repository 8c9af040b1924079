// Package e2e holds no code: its tests run the programs of cmd as processes,
// beside Mosquitto, OpenSSH and Samba, on hosts of a netlab, and look at what a
// user of them would see.
package e2e
