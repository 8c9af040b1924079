package keys

import (
	"errors"
	"os"
	"path/filepath"
	"time"
)

// osFiles is the system's file system.
type osFiles struct{}

func (osFiles) mkdir(dir string) error {
	if fi, err := os.Stat(dir); err == nil && fi.IsDir() {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func (osFiles) read(path string) ([]byte, error) { return os.ReadFile(path) }

func (osFiles) temp(path string) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.new") // 0600
	if err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

func (osFiles) write(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (osFiles) rename(from, to string) error { return rename(from, to) }

func (osFiles) syncDir(dir string) error { return syncDir(dir) }

func (osFiles) remove(path string) error { return os.Remove(path) }

// leftovers lists temporary files that no running Save can mean: those that
// the file system dates more than a minute away from path.
func (osFiles) leftovers(path, besides string) (old []string) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil
	}
	entries, _ := os.ReadDir(filepath.Dir(path))
	for _, e := range entries {
		p := filepath.Join(filepath.Dir(path), e.Name())
		ours, _ := filepath.Match(filepath.Base(path)+".*.new", e.Name()) // names have no metacharacters
		if o, err := e.Info(); err == nil && ours && p != besides && o.Mode().IsRegular() &&
			fi.ModTime().Sub(o.ModTime()).Abs() > time.Minute {
			old = append(old, p)
		}
	}
	return old
}
