package parts

import (
	"os/exec"
	"syscall"
)

// Apart keeps a child from what a terminal sends to all: that is for this program
// alone, which ends its children in order.
func Apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
