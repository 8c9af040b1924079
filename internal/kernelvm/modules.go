package kernelvm

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// modules returns the files of the named modules and of all that they need, each
// after what it needs, relative to the kernel's folder in /lib/modules. A name that
// is built into the kernel has none.
func modules(dir string, names []string) ([]string, error) {
	dep, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, err
	}
	builtin, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	files, needs := parseDep(string(dep))
	var list []string
	for _, name := range names {
		file, ok := files[name]
		switch {
		case ok:
		case slices.ContainsFunc(strings.Fields(string(builtin)), func(f string) bool { return moduleName(f) == name }):
			continue
		default:
			return nil, fmt.Errorf("kernelvm: the kernel of %s has no module %s", dir, name)
		}
		// What a module needs stands in its line with the deepest last.
		for _, f := range append(reversed(needs[file]), file) {
			if !slices.Contains(list, f) {
				list = append(list, f)
			}
		}
	}
	return list, nil
}

// parseDep reads modules.dep (5): each line is a file and all that it needs.
func parseDep(text string) (files map[string]string, needs map[string][]string) {
	files, needs = make(map[string]string), make(map[string][]string)
	for line := range strings.Lines(text) {
		file, rest, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		files[moduleName(file)] = file
		needs[file] = strings.Fields(rest)
	}
	return files, needs
}

// moduleName is the name of a module's file: dashes and underscores are the same.
func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".")
	return strings.ReplaceAll(name, "-", "_")
}

func reversed(list []string) []string {
	list = slices.Clone(list)
	slices.Reverse(list)
	return list
}
