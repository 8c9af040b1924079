// Package meter reads what the parts of a deployment cost, from /proc, and what they
// count, from their own figures.
package meter
