//go:build !race && linux

package e2e

const raceEnabled = false
