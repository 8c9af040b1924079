//go:build unix

package parts

import "syscall"

// ManyDescriptors lets this process and its children have as many descriptors as they
// may. Go does so for itself alone, unless it is asked.
func ManyDescriptors() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}
