package shell

import (
	"os"
	"path/filepath"
	"testing"
)

func program(t *testing.T, folder, name string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.WriteFile(path, nil, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestShellIsBashBeforeShAndTheUsualFoldersBeforePath(t *testing.T) {
	own, other := t.TempDir(), t.TempDir()
	usual = own
	defer func() { usual = "/bin:/usr/bin:/usr/local/bin" }()
	if got := Of(":relative:" + other); got != "" {
		t.Fatal(got)
	}
	sh := program(t, other, "sh", 0o755)
	if got := Of(":relative:" + other); got != sh {
		t.Fatal(got)
	}
	usualSh := program(t, own, "sh", 0o755)
	if got := Of(other); got != usualSh {
		t.Fatal(got)
	}
	bash := program(t, other, "bash", 0o755)
	if got := Of(other); got != bash || !IsBash(got) {
		t.Fatal(got)
	}
	usualBash := program(t, own, "bash", 0o755)
	if got := Of(other); got != usualBash {
		t.Fatal(got)
	}
	if IsBash("/bin/dash") || IsBash("") || IsBash("/bin/rbash") {
		t.Fatal("another shell counts as bash")
	}
}
