package keys

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// seal encrypts data for the account of the process (CryptProtectData).
func seal(data []byte) (body []byte, kind string, err error) {
	var out windows.DataBlob
	in := blob(data)
	err = windows.CryptProtectData(&in, nil, nil, 0, nil, windows.CRYPTPROTECT_UI_FORBIDDEN, &out)
	if err != nil {
		return nil, "", fmt.Errorf("CryptProtectData: %w", err)
	}
	return take(out), "dpapi", nil
}

// unseal undoes seal, and takes files that another system wrote.
func unseal(body []byte, kind string) ([]byte, error) {
	switch kind {
	case "plain":
		return body, nil
	case "dpapi":
	default:
		return nil, errors.New("a file of another system")
	}
	var out windows.DataBlob
	in := blob(body)
	err := windows.CryptUnprotectData(&in, nil, nil, 0, nil, windows.CRYPTPROTECT_UI_FORBIDDEN, &out)
	if err != nil {
		return nil, fmt.Errorf("CryptUnprotectData: %w", err)
	}
	return take(out), nil
}

func blob(b []byte) windows.DataBlob {
	if len(b) == 0 {
		return windows.DataBlob{}
	}
	return windows.DataBlob{Size: uint32(len(b)), Data: &b[0]}
}

// take copies what Windows allocated, and frees it.
func take(d windows.DataBlob) []byte {
	defer windows.LocalFree(windows.Handle(unsafe.Pointer(d.Data)))
	return slices.Clone(unsafe.Slice(d.Data, d.Size))
}

// rename tries again for a moment: virus scanners hold new files open.
func rename(from, to string) error {
	var err error
	for range 10 {
		if err = os.Rename(from, to); !errors.Is(err, windows.ERROR_ACCESS_DENIED) && !errors.Is(err, windows.ERROR_SHARING_VIOLATION) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

// syncDir has no counterpart on Windows: NTFS logs a rename itself.
func syncDir(string) error { return nil }
