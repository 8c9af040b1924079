// Package guac speaks the Guacamole protocol: instructions, and what a client says to
// guacd until a desktop is joined.
//
// An instruction is a list of elements, the opcode first. Each has its length before
// it, in Unicode code points:
//
//	4.size,4.1024,3.768,2.96;
//
// A browser's library counts what UTF-16 needs two units for as two. So that both
// agree, no instruction with such a character passes: Plain replaces it.
package guac
