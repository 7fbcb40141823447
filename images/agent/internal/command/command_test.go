package command

import (
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func read(t *testing.T, file string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var found map[string]any
	if err := json.Unmarshal(text, &found); err != nil {
		t.Fatal(err)
	}
	at, _ := found["at"].(string)
	if when, err := time.Parse("2006-01-02T15:04:05Z", at); err != nil || time.Since(when) > time.Minute {
		t.Fatal(at, err)
	}
	return found
}

func TestCommandStateIsKeptInItsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "command.json")
	command := New(file)
	command.Running()
	if found := read(t, file); len(found) != 1 || command.State() != nil {
		t.Fatal(found)
	}
	if text := command.Ended(syscall.WaitStatus(3 << 8)); text != "exit code 3" {
		t.Fatal(text)
	}
	if found := read(t, file); found["exitCode"] != 3.0 || *command.State().ExitCode != 3 {
		t.Fatal(found)
	}
	if text := command.Ended(syscall.WaitStatus(9)); text != "signal 9" {
		t.Fatal(text)
	}
	if found := read(t, file); found["signal"] != 9.0 || found["exitCode"] != nil || *command.State().Signal != 9 {
		t.Fatal(found)
	}
	if text := command.Exited(0); text != "exit code 0" || read(t, file)["exitCode"] != 0.0 {
		t.Fatal(text)
	}
}

func TestCodeOfAProgramThatCanNotBeStarted(t *testing.T) {
	if CodeOf(syscall.ENOENT) != 127 || CodeOf(syscall.EACCES) != 126 {
		t.Fatal("not as a shell has it")
	}
}
