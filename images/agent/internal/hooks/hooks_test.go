package hooks

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"devservers.io/agent/internal/process"
)

func home(t *testing.T, files map[string]string) Hooks {
	t.Helper()
	reaper, stop, ended := process.NewReaper(), make(chan struct{}), make(chan struct{})
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
	hooks := Hooks{Home: t.TempDir(), Reaper: reaper}
	for name, text := range files {
		path := filepath.Join(hooks.config(), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o755)
		if strings.HasSuffix(name, ".txt") {
			mode = 0o644
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	return hooks
}

func log(hooks Hooks) string {
	text, _ := os.ReadFile(filepath.Join(hooks.state(), "on-stop.log"))
	return string(text)
}

func TestHooksRunInOrderAndTheirOutputIsKept(t *testing.T) {
	hooks := home(t, map[string]string{
		"on-stop": "#!/bin/sh\necho one $DEVSERVERS_STOP_REASON $PWD; exit 3\n", "on-stop.d/20-b": "echo three >&2; kill -9 $$\n",
		"on-stop.d/10-a": "#!/bin/sh\necho two\n", "on-stop.d/note.txt": "echo never\n", "on-stop.d/30/x": "echo never\n",
	})
	hooks.Run(20*time.Second, "idle")
	text := log(hooks)
	last := 0
	for _, wanted := range []string{
		"on-stop: started (idle)\none idle " + hooks.Home + "\n", "on-stop: exit code 3", "10-a: started", "two\n",
		"10-a: exit code 0", "20-b: started", "three\n", "20-b: signal 9",
	} {
		at := strings.Index(text, wanted)
		if at < last {
			t.Fatalf("%q is not in its place in %s", wanted, text)
		}
		last = at
	}
	if strings.Contains(text, "never") {
		t.Fatal(text)
	}
}

func TestHookThatIsNotDoneInTimeEndsTheHooks(t *testing.T) {
	hooks := home(t, map[string]string{"on-stop": "#!/bin/sh\necho begins\nexec sleep 5\n", "on-stop.d/next": "#!/bin/sh\necho never\n"})
	began := time.Now()
	hooks.Run(300*time.Millisecond, "user")
	if took := time.Since(began); took > 3*time.Second {
		t.Fatal(took)
	}
	if text := log(hooks); !strings.Contains(text, "begins") || !strings.Contains(text, "not done") || strings.Contains(text, "never") {
		t.Fatal(text)
	}
}

func TestHooksLogStaysBounded(t *testing.T) {
	hooks := home(t, map[string]string{"on-stop": "#!/bin/sh\nhead -c 1000000 /dev/zero\n"})
	for range 6 {
		hooks.Run(20*time.Second, "user")
	}
	now, _ := os.Stat(filepath.Join(hooks.state(), "on-stop.log"))
	older, err := os.Stat(filepath.Join(hooks.state(), "on-stop.log.1"))
	if err != nil || now.Size() > maxLog+2*maxOutput || older.Size() > maxLog+2*maxOutput {
		t.Fatal(now, older, err)
	}
	if text := log(hooks); !strings.Contains(text, "bytes more were not kept") {
		t.Fatal(len(text))
	}
}

func TestHooksWithoutAnyLeaveNoTrace(t *testing.T) {
	hooks := home(t, map[string]string{})
	hooks.Run(20*time.Second, "user")
	if _, err := os.Stat(filepath.Join(hooks.Home, ".local")); err == nil {
		t.Fatal("a folder was made")
	}
}

func TestHooksRunWhereTheLogIsAPipe(t *testing.T) {
	hooks := home(t, map[string]string{"on-stop": "#!/bin/sh\n: > ran\n"})
	if err := os.MkdirAll(hooks.state(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(hooks.state(), "on-stop.log"), 0o600); err != nil {
		t.Fatal(err)
	}
	hooks.Run(20*time.Second, "user")
	if _, err := os.Stat(filepath.Join(hooks.Home, "ran")); err != nil {
		t.Fatal(err)
	}
}
