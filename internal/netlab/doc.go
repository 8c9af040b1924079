// Package netlab builds test networks from Linux network namespaces: hosts,
// routers, NATs and switches, joined by plain or emulated links.
//
// A lab belongs to one test, prints its drawing when it starts, and takes away
// at the end only what it made: its namespaces carry the test process's id in
// their names, and what a killed run left behind is found by that id. Nothing
// in the host's own namespace is read or changed, but for the names of
// namespaces.
//
// It needs root, ip and nft. Without them a test is skipped with the reason, or
// failed where CI is set.
package netlab
