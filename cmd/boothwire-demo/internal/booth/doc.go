// Package booth is a photo booth small enough to run ten of in one process: a
// folder with a log, a print queue that is stuck, and the SSH and SFTP server
// by which an engineer repairs it.
package booth
