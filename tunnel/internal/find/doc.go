// Package find is what the two ends of a session share of looking for paths that no
// grant can name: when a node's relay is called for, how package nat is to look for a
// direct path, and what is said of it afterwards. It leaves out who carries the offers.
package find
