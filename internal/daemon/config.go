package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// MaxConfig bounds a configuration file, in bytes.
const MaxConfig = 1 << 20

// A Validator is a configuration that knows more than its types say. Its error
// begins with the field's name, so that Load can name the line.
type Validator interface{ Validate() error }

// A Checker is a configuration that names files: it opens and reads them, and makes
// none. Its error begins with the field's name, as a Validator's does.
type Checker interface{ CheckFiles() error }

// A FieldError is a value that does not fit: Field is its name in the file.
type FieldError struct {
	Field string
	Err   error
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }
func (e *FieldError) Unwrap() error { return e.Err }

// In puts err's field, if it has one, into a table.
func In(table string, err error) error {
	if wrong, ok := errors.AsType[*FieldError](err); ok {
		return &FieldError{Field: table + "." + wrong.Field, Err: wrong.Err}
	}
	return err
}

// Wrong is a FieldError with a formatted reason.
func Wrong(field, format string, args ...any) error {
	return &FieldError{Field: field, Err: fmt.Errorf(format, args...)}
}

// Load reads a TOML file into cfg, refuses fields that it does not know, and
// validates it. Each error says the file, the line and what to do.
func Load(path string, cfg any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	if len(data) > MaxConfig {
		return fmt.Errorf("%s: larger than %d bytes", path, MaxConfig)
	}
	return parse(path, data, cfg)
}

// Check reads the files that cfg, loaded from path, names.
func Check(path string, cfg any) error {
	c, ok := cfg.(Checker)
	if !ok {
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	return at(path, data, c.CheckFiles())
}

func parse(path string, data []byte, cfg any) error {
	dec := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields()
	if err := dec.Decode(cfg); err != nil {
		return position(path, err)
	}
	v, ok := cfg.(Validator)
	if !ok {
		return nil
	}
	return at(path, data, v.Validate())
}

// at adds the file, and the line of the field that err is about.
func at(path string, data []byte, err error) error {
	if err == nil {
		return nil
	}
	var wrong *FieldError
	if errors.As(err, &wrong) {
		if n := lineOf(data, wrong.Field); n > 0 {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
	}
	return fmt.Errorf("%s: %w", path, err)
}

func position(path string, err error) error {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) && len(unknown.Errors) > 0 {
		first := unknown.Errors[0]
		line, _ := first.Position()
		return fmt.Errorf("%s:%d: there is no field %q; -example shows those that there are", path, line, strings.Join(first.Key(), "."))
	}
	var bad *toml.DecodeError
	if errors.As(err, &bad) {
		line, column := bad.Position()
		return fmt.Errorf("%s:%d:%d: %s", path, line, column, strings.TrimPrefix(bad.Error(), "toml: "))
	}
	return fmt.Errorf("%s: %w", path, err)
}

// lineOf finds the line that sets a field, or begins the table that lacks it; 0 when
// there is neither. The field is named by its tables, and by its number in one of
// several: "sub.port", "line[1].url".
func lineOf(data []byte, field string) int {
	table, key := "", field
	if i := strings.LastIndexByte(field, '.'); i >= 0 {
		table, key = field[:i], field[i+1:]
	}
	bare := func(s string) string { return strings.Trim(strings.TrimSpace(s), `"'`) }
	in, seen, begins := "", make(map[string]int), 0
	enter := func(name string, n int) {
		if in = name; in == table && begins == 0 {
			begins = n + 1
		}
	}
	for n, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "[["); ok {
			name, _, _ = strings.Cut(name, "]]")
			enter(fmt.Sprintf("%s[%d]", bare(name), seen[name]), n)
			seen[name]++
			continue
		}
		if name, ok := strings.CutPrefix(line, "["); ok {
			name, _, _ = strings.Cut(name, "]")
			enter(bare(name), n)
			continue
		}
		if name, _, ok := strings.Cut(line, "="); ok && in == table && bare(name) == key {
			return n + 1
		}
	}
	if begins == 0 && table != "" {
		return lineOf(data, table)
	}
	return begins
}

// A Duration is written as Go writes it: "90s", "8h".
type Duration time.Duration

// UnmarshalText reads a duration that is not negative.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return err
	}
	if v < 0 {
		return fmt.Errorf("%s is negative", v)
	}
	*d = Duration(v)
	return nil
}
