package files

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/http"

	"github.com/pkg/sftp"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/console/internal/sshconn"
)

var (
	errPath      = client.Refuse(http.StatusUnprocessableEntity, "bad_path", "an absolute path in its shortest form is needed")
	errName      = client.Refuse(http.StatusUnprocessableEntity, "bad_name", "nothing can have this name there")
	errNumber    = client.Refuse(http.StatusUnprocessableEntity, "malformed", "a number of the request is out of range")
	errBody      = client.Refuse(http.StatusUnprocessableEntity, "malformed", "the body is not what this call takes")
	errSignIn    = client.Refuse(http.StatusConflict, "ssh_sign_in", "nobody has signed in to the device by SSH in this session")
	errNotFile   = client.Refuse(http.StatusConflict, "not_a_file", "only ordinary files have contents")
	errNotFolder = client.Refuse(http.StatusConflict, "not_a_folder", "it is no folder")
	errIsFolder  = client.Refuse(http.StatusConflict, "is_a_folder", "it is a folder")
	errExists    = client.Refuse(http.StatusConflict, "exists", "something has this name already")
	errNotEmpty  = client.Refuse(http.StatusConflict, "not_empty", "the folder is not empty")
	errBusy      = client.Refuse(http.StatusConflict, "transfer_busy", "another request uploads to this path")
	errOffset    = client.Refuse(http.StatusConflict, "wrong_offset", "the upload has come to another place")
	errLarge     = client.Refuse(http.StatusRequestEntityTooLarge, "too_large", "the file is larger than the console passes on")
	errFolder    = client.Refuse(http.StatusConflict, "folder_too_large", "the folder has more entries than the console reads")
	errFast      = client.Refuse(http.StatusTooManyRequests, "too_many_requests", "slow down")
	errTransfers = client.Refuse(http.StatusTooManyRequests, "too_many_transfers", "as many files as allowed are on the way")
	errMissing   = client.Refuse(http.StatusNotFound, "no_such_file", "there is nothing under this path")
	errDenied    = client.Refuse(http.StatusForbidden, "file_denied", "the device does not let this user do that")
	errCut       = client.Refuse(http.StatusBadRequest, "upload_cut", "the upload broke off")
	errLost      = client.Refuse(http.StatusBadGateway, sshconn.CodeLost, "the connection to the device broke")
)

// problem gives an error the form of a refusal. Words of the device's come with it.
func problem(err error) *client.Error {
	if e, ok := errors.AsType[*client.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*sshconn.Error](err); ok {
		return client.Refuse(http.StatusBadGateway, e.Code, e.Error())
	}
	var status *sftp.StatusError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errMissing
	case errors.Is(err, fs.ErrPermission):
		return errDenied
	case errors.Is(err, fs.ErrExist):
		return errExists
	case errors.As(err, &status):
		return client.Refuse(http.StatusConflict, "file_refused", show(status.Error()))
	case errors.Is(err, sftp.ErrSSHFxConnectionLost) || errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled):
		return errLost
	}
	return client.Refuse(http.StatusBadGateway, "file_failed", show(err.Error()))
}

// refuse answers with a problem document.
func refuse(w http.ResponseWriter, err error) {
	p := problem(err)
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	if p.Status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v)
}
