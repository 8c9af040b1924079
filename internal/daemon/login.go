package daemon

import (
	"os"
	"strings"
)

// A Login is a user name, and a password or the file that holds it.
type Login struct {
	Username     string `toml:"username"`
	Password     string `toml:"password"`
	PasswordFile string `toml:"password_file"`
}

// Validate refuses two passwords.
func (l *Login) Validate() error {
	if l.Password != "" && l.PasswordFile != "" {
		return Wrong("password_file", "password is set too: one of them is enough")
	}
	return nil
}

// Secret is the password, without the newline at the file's end.
func (l *Login) Secret() (string, error) {
	if l.PasswordFile == "" {
		return l.Password, nil
	}
	data, err := os.ReadFile(l.PasswordFile)
	if err != nil {
		return "", &FieldError{"password_file", err}
	}
	return strings.TrimRight(string(data), "\r\n"), nil
}

// CheckFiles reads the password's file.
func (l *Login) CheckFiles() error {
	_, err := l.Secret()
	return err
}
