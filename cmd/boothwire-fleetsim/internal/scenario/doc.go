// Package scenario reads the scripts of loads: what a fleet is made of, and what is
// done to it, step by step.
package scenario
