package install

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMainCopiesFilesLinksAndModesAndDoesSoAgain(t *testing.T) {
	folder := t.TempDir()
	root, target, run := filepath.Join(folder, "root"), filepath.Join(folder, "target"), filepath.Join(folder, "run")
	for _, made := range []string{filepath.Join(root, "bin"), target, run} {
		if err := os.MkdirAll(made, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "bin", "agent"), []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("agent", filepath.Join(root, "bin", "login")); err != nil {
		t.Fatal(err)
	}
	// What an interrupted start left.
	if err := os.Mkdir(filepath.Join(target, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(target, "bin", "agent.new"), []byte("half of it"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Main(root, target, run); err != nil {
			t.Fatal(err)
		}
		text, _ := os.ReadFile(filepath.Join(target, "bin", "login"))
		info, err := os.Stat(filepath.Join(target, "bin", "agent"))
		if string(text) != "program" || err != nil || info.Mode().Perm() != 0o755 {
			t.Fatal(string(text), err, info)
		}
		link, err := os.Readlink(filepath.Join(target, "bin", "login"))
		if err != nil || link != "agent" {
			t.Fatal(link, err)
		}
		for _, name := range []string{"passwd", "profile"} {
			if _, err := os.Stat(filepath.Join(run, name)); err != nil {
				t.Fatal(err)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(target, "bin", "*.new")); left != nil {
			t.Fatal(left)
		}
	}
	if err := os.WriteFile(filepath.Join(run, "passwd"), []byte("kept"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Main(root, target, run); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(filepath.Join(run, "passwd")); string(text) != "kept" {
		t.Fatal("a container that starts again loses its account")
	}
	if Main(root, filepath.Join(folder, "none", "target"), run) == nil || Main(root, target, filepath.Join(folder, "none")) == nil {
		t.Fatal("no error")
	}
}
