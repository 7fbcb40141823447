package runs

import (
	"bytes"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"devservers.io/agent/internal/local"
)

// served is the command with a registry that answers it.
func served(t *testing.T) (func(args ...string) (int, string, string), *Registry) {
	t.Helper()
	registry := registryIn(t)
	home := t.TempDir()
	socket := filepath.Join(t.TempDir(), "runs.sock")
	listener, err := local.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() { _ = registry.Serve(listener) }()
	return func(args ...string) (int, string, string) {
		t.Helper()
		var out, err bytes.Buffer
		code := client{socket, home, registry.Folder, strings.NewReader(""), &out, &err}.main(args)
		return code, out.String(), err.String()
	}, registry
}

func TestRunPrintsTheOutputAndEndsWithTheExitCode(t *testing.T) {
	devserver, _ := served(t)
	code, out, err := devserver("run", "--name", "try", "--env", "GREETING=hello", "--", "sh", "-c", "echo $GREETING; exit 3")
	if code != 3 || out != "hello\n" || err != "run try\n" {
		t.Errorf("%d %q %q", code, out, err)
	}
	if code, out, err := devserver("logs", "try", "--from", "2"); code != 0 || out != "llo\n" {
		t.Errorf("%d %q %q", code, out, err)
	}
	if code, out, err = devserver("attach", "try", "--from=3"); code != 3 || out != "lo\n" || err != "" {
		t.Errorf("%d %q %q", code, out, err)
	}
}

func TestDetachedRunIsListedAndCanceled(t *testing.T) {
	devserver, registry := served(t)
	code, out, err := devserver("run", "--name=long", "--dir=/", "--detach", "--", "sh", "-c", "trap 'exit 9' INT; echo up; while :; do sleep 0.05; done")
	if code != 0 || out != "long\n" {
		t.Fatalf("%d %q %q", code, out, err)
	}
	await(t, "it has started", func() bool { return output(registry, "long") == "up\n" })
	if _, out, _ := devserver("runs"); !strings.Contains(out, "long  running") {
		t.Error(out)
	}
	if code, _, err := devserver("cancel", "long"); code != 0 {
		t.Error(err)
	}
	if code, _, _ := devserver("attach", "long"); code != 9 {
		t.Errorf("exit code %d", code)
	}
	_, out, _ = devserver("runs", "-o", "json")
	var records []Record
	if err := json.Unmarshal([]byte(out), &records); err != nil || len(records) != 1 || !records[0].Canceled || records[0].Dir != "/" {
		t.Errorf("%v %s", err, out)
	}
	if _, out, _ := devserver("runs"); !strings.Contains(out, "canceled (exit 9)") {
		t.Error(out)
	}
	if code, out, _ := devserver("runs", "-o", "name"); code != 0 || out != "long\n" {
		t.Error(out)
	}
}

func TestListedRunHasAllFields(t *testing.T) {
	devserver, registry := served(t)
	started := time.Date(2026, 11, 30, 13, 0, 0, 0, time.UTC)
	for _, record := range []Record{
		{Name: "going", Argv: []string{"true"}, State: Running, Started: started.Add(time.Hour)},
		{Name: "over", Argv: []string{"true"}, Env: []string{"A=1"}, State: Ended, Started: started, Ended: started.Add(time.Minute), ExitCode: 1},
	} {
		if err := registry.Folder.create(record); err != nil {
			t.Fatal(err)
		}
	}
	_, out, _ := devserver("runs", "-o", "json")
	var listed []map[string]any
	if err := json.Unmarshal([]byte(out), &listed); err != nil || len(listed) != 2 {
		t.Fatalf("%v %s", err, out)
	}
	// tests/unit/cli/test_run.py has the same fields of a server that is stopped.
	fields := []string{"argv", "canceled", "dir", "ended", "env", "exitCode", "name", "processes", "share", "started", "state", "torchrun"}
	for _, run := range listed {
		if names := slices.Sorted(maps.Keys(run)); !slices.Equal(names, fields) {
			t.Errorf("%v", names)
		}
	}
	if going := listed[0]; going["ended"] != nil || going["canceled"] != false || going["torchrun"] != "" || len(going["env"].([]any)) != 0 {
		t.Errorf("%v", going)
	}
	if over := listed[1]; over["ended"] != "2026-11-30T13:01:00Z" || over["env"].([]any)[0] != "A=1" {
		t.Errorf("%v", over)
	}
}

func TestNoRunsIsAnEmptyList(t *testing.T) {
	devserver, _ := served(t)
	if code, out, _ := devserver("runs", "-o=json"); code != 0 || out != "[]\n" {
		t.Errorf("%d %q", code, out)
	}
}

func TestCommandRefusesWhatIsWrong(t *testing.T) {
	devserver, _ := served(t)
	for _, wrong := range []struct {
		args  string
		code  int
		error string
	}{
		{"run", exitUsage, "there is no command; write it after --"},
		{"run -- ", exitUsage, "there is no command; write it after --"},
		{"run --name UP -- true", exitUsage, `"UP" is no name of a run`},
		{"run --env NAME -- true", exitUsage, `"NAME" is no variable; write NAME=VALUE`},
		{"run --env =x -- true", exitUsage, `"=x" is no variable`},
		{"run --bogus -- true", exitUsage, "`devserver run` has no option --bogus"},
		{"run --mirror x -- true", exitUsage, "--mirror is for devctl"},
		{"run --stream --mirror ../x -- true", exitUsage, "--mirror is for devctl"},
		{"run --stream --mirror x --dir / -- true", exitUsage, "without --dir"},
		{"run --torchrun 0 -- train.py", exitUsage, `"0" is no number of processes; it is 1 to 128, or auto`},
		{"run --torchrun many -- train.py", exitUsage, `"many" is no number of processes`},
		{"logs none --rank -1", exitUsage, `"-1" is no rank`},
		{"run --share=yes -- true", exitUsage, "`devserver run` has no option --share=yes"},
		{"run train.py", exitUsage, "`devserver run` takes no further argument"},
		{"run --dir", exitUsage, "--dir needs a value"},
		{"run --dir /no/such -- true", exitRefused, "there is no folder /no/such"},
		{"run -- no-such-program", exitRefused, "there is no program no-such-program in the server"},
		{"runs -o yaml", exitUsage, "there is no output yaml"},
		{"attach", exitUsage, `"" is no name of a run`},
		{"attach none", exitNoAnswer, "there is no run none; `devserver runs` lists them"},
		{"attach none --from -1", exitUsage, `"-1" is no number of bytes`},
		{"attach one two", exitUsage, "takes no further argument"},
		{"logs none", exitRefused, "there is no run none"},
		{"cancel none", exitRefused, "there is no run none"},
		{"cancel ../..", exitUsage, "is no name of a run"},
	} {
		code, out, err := devserver(strings.Fields(wrong.args)...)
		if code != wrong.code || out != "" || !strings.Contains(err, wrong.error) || strings.Count(err, "\n") != 1 {
			t.Errorf("%s: %d %q %q", wrong.args, code, out, err)
		}
	}
	code, _, err := client{filepath.Join(t.TempDir(), "none"), "", Of(t.TempDir()), nil, &bytes.Buffer{}, &bytes.Buffer{}}.main([]string{"cancel", "x"}), "", ""
	if code != exitNoAnswer {
		t.Errorf("%d %q", code, err)
	}
}

func TestListShowsNothingATerminalWouldActOn(t *testing.T) {
	if shown := short("echo \x1b[31m\nred\u009b " + strings.Repeat("é", 100)); strings.ContainsAny(shown, "\x1b\n\u009b") || len([]rune(shown)) != 80 {
		t.Errorf("%q", shown)
	}
}
