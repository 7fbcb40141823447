package process

import (
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

func collecting(t *testing.T) *Reaper {
	t.Helper()
	reaper, stop := NewReaper(), make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				reaper.Collect()
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-ended })
	return reaper
}

func status(t *testing.T, process *Process) syscall.WaitStatus {
	t.Helper()
	select {
	case <-process.Done():
		return process.Status()
	case <-time.After(20 * time.Second):
		t.Fatal("the process was not collected")
		panic("unreachable")
	}
}

func TestStartDeliversExitCodeAndSignal(t *testing.T) {
	reaper := collecting(t)
	process, err := reaper.Start(Spec{Argv: []string{"sh", "-c", "exit 7"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := status(t, process); got.ExitStatus() != 7 {
		t.Fatal(got)
	}
	if err := process.Signal(syscall.SIGTERM); err != syscall.ESRCH {
		t.Fatal("a process that was collected got a signal", err)
	}
	process, err = reaper.Start(Spec{Argv: []string{"sleep", "60"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := process.SignalGroup(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := status(t, process); !got.Signaled() || got.Signal() != syscall.SIGTERM {
		t.Fatal(got)
	}
}

func TestStartOfManyShortProcessesLosesNone(t *testing.T) {
	reaper := collecting(t)
	var group sync.WaitGroup
	for range 8 {
		group.Add(1)
		go func() {
			defer group.Done()
			for code := range 25 {
				process, err := reaper.Start(Spec{Argv: []string{"sh", "-c", "exit $0", string(rune('0' + code%10))}})
				if err != nil {
					t.Error(err)
					return
				}
				if got := status(t, process); got.ExitStatus() != code%10 {
					t.Error(got, code)
				}
			}
		}()
	}
	group.Wait()
}

func TestStartFailsAsExecvpDoes(t *testing.T) {
	folder := t.TempDir()
	plain := filepath.Join(folder, "plain")
	if err := os.WriteFile(plain, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+":/usr/bin:/bin")
	reaper := collecting(t)
	for name, want := range map[string]error{
		"":           syscall.ENOENT,
		"none":       syscall.ENOENT,
		"/none":      syscall.ENOENT,
		"plain":      syscall.EACCES,
		plain:        syscall.EACCES,
		plain + "/x": syscall.ENOENT,
	} {
		if _, err := reaper.Start(Spec{Argv: []string{name}}); err != want {
			t.Errorf("%q: %v, not %v", name, err, want)
		}
	}
	if _, err := reaper.Start(Spec{}); err != syscall.ENOENT {
		t.Error(err)
	}
}

func TestStartOfAScriptWithoutAnInterpreterUsesTheShell(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("exit $1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	process, err := collecting(t).Start(Spec{Argv: []string{script, "9"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := status(t, process); got.ExitStatus() != 9 {
		t.Fatal(got)
	}
}

func TestStartedProcessLeadsASessionAndHasItsFiles(t *testing.T) {
	reaper := collecting(t)
	out, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	folder := t.TempDir()
	line := []string{"sh", "-c", `read -r pid name state parent group session rest </proc/self/stat; echo $A $PWD; test $pid = $session`}
	process, err := reaper.Start(Spec{Argv: line, Env: []string{"A=b"}, Dir: folder, Stdout: out})
	if err != nil {
		t.Fatal(err)
	}
	if got := status(t, process); got.ExitStatus() != 0 {
		t.Fatal(got)
	}
	text, _ := os.ReadFile(out.Name())
	if string(text) != "b "+folder+"\n" {
		t.Fatalf("%q", text)
	}
}
