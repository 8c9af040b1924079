// Package load does to a fleet what a script says, as engineers would: through
// control's API and through tunnels.
package load
