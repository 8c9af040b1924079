package kernelvm

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// cpio itself reads what the kernel has to.
func TestArchive(t *testing.T) {
	cpio, err := exec.LookPath("cpio")
	if err != nil {
		t.Skip("this test needs cpio")
	}
	var b bytes.Buffer
	a := newArchive(&b)
	a.file("/a/b/one", false, []byte("first"))
	a.file("/a/two", true, nil)
	a.dir("proc")
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command(cpio, "-i", "--quiet", "--no-absolute-filenames")
	cmd.Dir, cmd.Stdin = dir, &b
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "a/b/one")); err != nil || string(got) != "first" {
		t.Errorf("one is %q, %v", got, err)
	}
	if st, err := os.Stat(filepath.Join(dir, "a/two")); err != nil || st.Mode() != 0o755 || st.Size() != 0 {
		t.Errorf("two is %v, %v", st, err)
	}
	if st, err := os.Stat(filepath.Join(dir, "proc")); err != nil || !st.IsDir() {
		t.Errorf("proc is %v, %v", st, err)
	}
	if a.file("../up", false, nil); a.close() == nil {
		t.Error("a name that leads out of the archive was taken")
	}
}

func TestModules(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"modules.dep":     "kernel/net/wireguard.ko: kernel/lib/curve.ko kernel/lib/chacha.ko\nkernel/lib/curve.ko: kernel/lib/chacha.ko\nkernel/lib/chacha.ko:\nkernel/net/sch_htb.ko:\n",
		"modules.builtin": "kernel/fs/ext4/ext4.ko\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := modules(dir, []string{"wireguard", "ext4", "sch_htb"})
	want := "kernel/lib/chacha.ko kernel/lib/curve.ko kernel/net/wireguard.ko kernel/net/sch_htb.ko"
	if err != nil || strings.Join(got, " ") != want {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := modules(dir, []string{"nothing"}); err == nil || slices.Contains(got, "nothing") {
		t.Errorf("a module that does not exist: %v, %v", got, err)
	}
}
