// Package structure holds no code: its tests read the module's source and fail
// on an import arrow that docs/ARCHITECTURE.md does not draw, on a package
// without a doc comment, and on a program whose main file is more than flags.
package structure
