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

func fail(status int, code, detail string) *client.Error {
	return &client.Error{Status: status, Code: code, Title: http.StatusText(status), Detail: detail}
}

var (
	errPath      = fail(http.StatusUnprocessableEntity, "bad_path", "an absolute path in its shortest form is needed")
	errName      = fail(http.StatusUnprocessableEntity, "bad_name", "nothing can have this name there")
	errNumber    = fail(http.StatusUnprocessableEntity, "malformed", "a number of the request is out of range")
	errBody      = fail(http.StatusUnprocessableEntity, "malformed", "the body is not what this call takes")
	errSignIn    = fail(http.StatusConflict, "ssh_sign_in", "nobody has signed in to the device by SSH in this session")
	errNotFile   = fail(http.StatusConflict, "not_a_file", "only ordinary files have contents")
	errNotFolder = fail(http.StatusConflict, "not_a_folder", "it is no folder")
	errIsFolder  = fail(http.StatusConflict, "is_a_folder", "it is a folder")
	errExists    = fail(http.StatusConflict, "exists", "something has this name already")
	errNotEmpty  = fail(http.StatusConflict, "not_empty", "the folder is not empty")
	errBusy      = fail(http.StatusConflict, "transfer_busy", "another request uploads to this path")
	errOffset    = fail(http.StatusConflict, "wrong_offset", "the upload has come to another place")
	errLarge     = fail(http.StatusRequestEntityTooLarge, "too_large", "the file is larger than the console passes on")
	errFolder    = fail(http.StatusConflict, "folder_too_large", "the folder has more entries than the console reads")
	errFast      = fail(http.StatusTooManyRequests, "too_many_requests", "slow down")
	errTransfers = fail(http.StatusTooManyRequests, "too_many_transfers", "as many files as allowed are on the way")
	errMissing   = fail(http.StatusNotFound, "no_such_file", "there is nothing under this path")
	errDenied    = fail(http.StatusForbidden, "file_denied", "the device does not let this user do that")
	errCut       = fail(http.StatusBadRequest, "upload_cut", "the upload broke off")
	errLost      = fail(http.StatusBadGateway, sshconn.CodeLost, "the connection to the device broke")
)

// problem gives an error the form of a refusal. Words of the device's come with it.
func problem(err error) *client.Error {
	if e, ok := errors.AsType[*client.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*sshconn.Error](err); ok {
		return fail(http.StatusBadGateway, e.Code, e.Error())
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
		return fail(http.StatusConflict, "file_refused", show(status.Error()))
	case errors.Is(err, sftp.ErrSSHFxConnectionLost) || errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled):
		return errLost
	}
	return fail(http.StatusBadGateway, "file_failed", show(err.Error()))
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
