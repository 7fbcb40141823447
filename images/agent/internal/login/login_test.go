package login

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestLoginShellIsCalledAsItWasAskedFor(t *testing.T) {
	for _, this := range []struct {
		dashed    bool
		arguments []string
		want      []string
	}{
		{false, nil, []string{"bash"}},
		{true, nil, []string{"-bash"}},
		{false, []string{"--login"}, []string{"-bash"}},
		{false, []string{"-c", "echo --login"}, []string{"bash", "-c", "echo --login"}},
		{false, []string{"--login", "-c", ""}, []string{"bash", "-l", "-c", ""}},
		{true, []string{"-c", "true"}, []string{"bash", "-l", "-c", "true"}},
		{false, []string{"-c"}, []string{"bash"}},
		{false, []string{"-c", "-c"}, []string{"bash", "-c", "-c"}},
		{false, []string{"--other", "word"}, []string{"bash"}},
	} {
		login, line := parse(this.dashed, this.arguments)
		if got := argv("/usr/bin/bash", login, line); !reflect.DeepEqual(got, this.want) {
			t.Errorf("%v %q: %q", this.dashed, this.arguments, got)
		}
	}
}

func TestMotdIsShownInTerminalsOnly(t *testing.T) {
	folder := t.TempDir()
	motd, out := filepath.Join(folder, "motd"), filepath.Join(folder, "out")
	if err := os.WriteFile(motd, []byte("stops at 18:00\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	showMotd(motd, file)
	if text, _ := os.ReadFile(out); len(text) != 0 {
		t.Fatalf("%q in a session that may be a protocol", text)
	}
}
