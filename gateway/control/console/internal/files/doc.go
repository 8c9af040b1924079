// Package files is a device's files over HTTP, by SFTP in the SSH connection that
// somebody has signed in (package sshconn):
//
//	GET    …/files?path=P&offset=N&limit=N              a folder, as JSON; without path the user's own
//	GET    …/files/content?path=P                       a file, also in ranges
//	GET    …/files/sum?path=P                           its SHA-256
//	PUT    …/files/content?path=P&offset=N&total=N      a piece of an upload; overwrite=1: over what is there
//	GET    …/files/upload?path=P&total=N                how far an upload has come
//	DELETE …/files/upload?path=P                        forget it, and what came of it
//	POST   …/files/mkdir?path=P
//	POST   …/files/rename?path=P&to=P                   overwrite=1 likewise
//	DELETE …/files?path=P                               a file, a link, or an empty folder
//
// An upload goes into a file beside its target, named with PartSuffix, that takes the
// target's name when all of it is there; it can be gone on with after a break, also in a
// later session. Files are never held in memory: what is, is a block of each transfer.
// Links are shown as links and never followed to write or delete.
//
// It refuses with problem documents, as control does.
package files

// PartSuffix ends the name of a file whose upload is not over.
const PartSuffix = ".boothwire-part"
