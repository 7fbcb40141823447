package home

import (
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"
)

func folders(t *testing.T, files map[string]string) Folders {
	t.Helper()
	root := t.TempDir()
	made := Folders{filepath.Join(root, "home"), filepath.Join(root, "skel"), filepath.Join(root, "own")}
	for _, folder := range []string{made.Home, made.OwnSkel} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	files["own/.profile"], files["own/.bashrc"] = "own profile", "own bashrc"
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return made
}

func content(t *testing.T, folder string) string {
	t.Helper()
	var found []string
	_ = filepath.Walk(folder, func(path string, info os.FileInfo, err error) error {
		name, _ := filepath.Rel(folder, path)
		switch {
		case err != nil:
			t.Fatal(err)
		case info.Mode().IsRegular():
			text, _ := os.ReadFile(path)
			found = append(found, name+"="+string(text))
		case name != ".":
			found = append(found, name)
		}
		return nil
	})
	sort.Strings(found)
	return strings.Join(found, ",")
}

func TestPrepareFillsAnEmptyHomeFromTheImage(t *testing.T) {
	made := folders(t, map[string]string{"skel/.bashrc": "b", "skel/.profile": "p", "skel/deep/er/file": "f"})
	if err := os.Symlink("/nowhere", filepath.Join(made.ImageSkel, "link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(made.ImageSkel, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(made.Home, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := made.Prepare("/bin/bash"); err != nil {
		t.Fatal(err)
	}
	if got := content(t, made.Home); got != ".bashrc=b,.profile=p,deep,deep/er,deep/er/file=f,link,lost+found" {
		t.Fatal(got)
	}
	if err := made.Prepare("/bin/bash"); err != nil {
		t.Fatal("a second start", err)
	}
}

func TestPrepareCopiesTheRestWhenOneFileFails(t *testing.T) {
	made := folders(t, map[string]string{"skel/a": "a", "skel/b-first/x": "x", "skel/z": "z"})
	// What fails here is one file's target, a folder that can't be made: root reads everything, in a test as well.
	if err := os.Symlink("loop", filepath.Join(made.ImageSkel, "c")); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 {
		for _, name := range []string{"a", "b-first"} {
			if err := os.Chmod(filepath.Join(made.ImageSkel, name), 0); err != nil {
				t.Fatal(err)
			}
			defer os.Chmod(filepath.Join(made.ImageSkel, name), 0o700)
		}
	}
	if err := made.Prepare("/bin/bash"); err != nil {
		t.Fatal(err)
	}
	got := content(t, made.Home)
	for _, wanted := range []string{"z=z", ".profile=own profile", ".bashrc=own bashrc"} {
		if !strings.Contains(got, wanted) {
			t.Fatal(got)
		}
	}
}

func TestPrepareLeavesAHomeInUseAloneButForAProfile(t *testing.T) {
	made := folders(t, map[string]string{"skel/.bashrc": "b", "skel/.bash_login": "l", "home/work": "w"})
	if err := made.Prepare("/bin/bash"); err != nil {
		t.Fatal(err)
	}
	if got := content(t, made.Home); got != ".bash_login=l,work=w" {
		t.Fatal(got)
	}
	made = folders(t, map[string]string{"home/.bash_profile": "mine"})
	if err := made.Prepare("/bin/bash"); err != nil {
		t.Fatal(err)
	}
	if got := content(t, made.Home); got != ".bash_profile=mine" {
		t.Fatal(got)
	}
}

func TestPrepareWithoutSkelOrWithoutBash(t *testing.T) {
	made := folders(t, map[string]string{})
	if err := made.Prepare("/bin/sh"); err != nil {
		t.Fatal(err)
	}
	if got := content(t, made.Home); got != "" {
		t.Fatal(got)
	}
	if err := made.Prepare("/usr/bin/bash"); err != nil {
		t.Fatal(err)
	}
	if got := content(t, made.Home); got != ".bashrc=own bashrc,.profile=own profile" {
		t.Fatal(got)
	}
}

func TestPrepareReplacesNothingThroughALink(t *testing.T) {
	made := folders(t, map[string]string{"skel/.bashrc": "b", "precious": "precious"})
	target := filepath.Join(filepath.Dir(made.Home), "precious")
	if err := os.Symlink(target, filepath.Join(made.Home, ".profile")); err != nil {
		t.Fatal(err)
	}
	if err := made.Prepare("/bin/bash"); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(target); string(text) != "precious" {
		t.Fatalf("%q", text)
	}
}

func TestPrepareSaysWhatKeptAFileAway(t *testing.T) {
	made := folders(t, map[string]string{})
	if err := os.Remove(filepath.Join(made.OwnSkel, ".profile")); err != nil {
		t.Fatal(err)
	}
	if err := made.Prepare("/bin/bash"); err == nil {
		t.Fatal("no error")
	}
	if got := content(t, made.Home); got != ".bashrc=own bashrc" {
		t.Fatal(got)
	}
}
