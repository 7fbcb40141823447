package environment

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"
)

func TestLoadAddsWhatWasStoredButWhatBelongsToASession(t *testing.T) {
	file := filepath.Join(t.TempDir(), "environment")
	stored := []string{"A=line\nbreak 'x' \\ $(B)", "EMPTY=", "PATH=/image", "HOME=/other", "SHELL=/x", "TERM=dumb", "_=x", "BAD", "SAME=new"}
	if err := Store(file, stored); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 {
		t.Fatal(info.Mode())
	}
	own := []string{"HOME=/home/dev", "PATH=/usr/bin", "SAME=old", "TERM=xterm"}
	got, err := Load(file, own)
	want := []string{"HOME=/home/dev", "PATH=/image", "SAME=new", "TERM=xterm", stored[0], "EMPTY="}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%v %q", err, got)
	}
	if got, _ := Load(file, []string{}); Value(got, "TERM") != "dumb" {
		t.Fatal("a session without a terminal's type has none", got)
	}
	if own[1] != "PATH=/usr/bin" {
		t.Fatal("the caller's environment changed")
	}
	if got, err := Load(file+"none", own); err == nil || !reflect.DeepEqual(got, own) {
		t.Fatal(got, err)
	}
}

func TestWithSetsOrAddsAVariable(t *testing.T) {
	if got := With([]string{"A=1", "SHELL=x"}, "SHELL", "/bin/sh"); !reflect.DeepEqual(got, []string{"A=1", "SHELL=/bin/sh"}) {
		t.Fatal(got)
	}
	if got := With([]string{"A=1"}, "SHELL", "/bin/sh"); Value(got, "SHELL") != "/bin/sh" || Value(got, "NONE") != "" {
		t.Fatal(got)
	}
}

func TestStoreProfileIsPathForAShell(t *testing.T) {
	file := filepath.Join(t.TempDir(), "profile")
	path := `/a b:/it's:/$HOME:/\`
	if err := StoreProfile(file, path, true); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", `. "$0"; printf %s "$PATH"`, file).Output()
	if err != nil || string(out) != path {
		t.Fatalf("%v %q", err, out)
	}
	if err := StoreProfile(file, "", false); err != nil {
		t.Fatal(err)
	}
	out, err = exec.Command("sh", "-c", `PATH=kept; . "$0"; printf %s "$PATH"`, file).Output()
	if err != nil || string(out) != "kept" {
		t.Fatalf("%v %q", err, out)
	}
}
