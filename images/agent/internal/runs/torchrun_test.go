package runs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func program(t *testing.T, name, script string) {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, name), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
}

func TestTorchrunStartsOneProcessAGPU(t *testing.T) {
	program(t, "torchrun", "#!/bin/sh\necho \"$@\"; echo \"$TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE\"\n")
	registry := registryIn(t)
	for _, this := range []struct {
		gpus            int
		processes, want string
	}{
		{0, "auto", "--standalone --local-addr=127.0.0.1 --nproc-per-node=1 --log-dir=LOGS train.py --lr 1\n\n"},
		{4, "auto", "--standalone --local-addr=127.0.0.1 --nproc-per-node=4 --log-dir=LOGS --tee=3 train.py --lr 1\n[${rank}] \n"},
		{4, "2", "--standalone --local-addr=127.0.0.1 --nproc-per-node=2 --log-dir=LOGS --tee=3 train.py --lr 1\n[${rank}] \n"},
	} {
		registry.GPUs = this.gpus
		record, err := registry.Start(Record{Argv: []string{"train.py", "--lr", "1"}, Dir: t.TempDir(), Torchrun: this.processes})
		if err != nil {
			t.Fatal(err)
		}
		if out, ended := followed(t, registry, record.Name, 0); out != strings.ReplaceAll(this.want, "LOGS", registry.Folder.ranks(record.Name)) || ended.Processes != record.Processes || ended.shown() != "torchrun train.py --lr 1" {
			t.Errorf("%+v: %q %+v", this, out, ended)
		}
	}
}

func TestTorchrunsOwnPythonRunsIt(t *testing.T) {
	python := filepath.Join(t.TempDir(), "python3.13")
	if err := os.WriteFile(python, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	program(t, "python3", "#!/bin/sh\n")
	for first, want := range map[string]string{
		"#!" + python: python, "#! " + python + "\n": python, "#!/usr/bin/env python3\n": "python3", "#!/bin/sh": "",
		"#!" + python + " -I": "", "\x7fELF": "", "": "", "#!": "", "#!/usr/bin/env no-such-python": "",
	} {
		program(t, "torchrun", first+"\nimport torch\n")
		launched, err := torchrun(1, "/logs", []string{"x.py"})
		if err != nil {
			t.Fatal(err)
		}
		if want == "" {
			if filepath.Base(launched.Argv[0]) != "torchrun" {
				t.Errorf("%q: %q", first, launched.Argv)
			}
		} else if !strings.HasSuffix(launched.Argv[0], want) || launched.Argv[1] != "-c" || launched.Argv[2] != launchScript {
			t.Errorf("%q: %q", first, launched.Argv)
		}
	}
}

func TestServerWithoutTorchrunOffersToStartWithoutIt(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	registry := registryIn(t)
	_, err := registry.Check(Record{Argv: []string{"train.py"}, Torchrun: "auto"})
	if err == nil || !strings.Contains(err.Error(), "has no torchrun; ") || !strings.Contains(err.Error(), "--no-torchrun") {
		t.Error(err)
	}
}

func TestTheSecondCopyOfTheRanksOutputIsDeletedAfterTheRun(t *testing.T) {
	program(t, "torchrun", "#!/bin/sh\nfor at; do case $at in --log-dir=*) logs=${at#*=};; esac; done\n"+
		"mkdir -p $logs/none_1/attempt_0/0 && echo copy > $logs/none_1/attempt_0/0/stdout.log && echo up; sleep 300\n")
	registry := registryIn(t)
	record, err := registry.Start(Record{Argv: []string{"train.py"}, Dir: t.TempDir(), Torchrun: "2"})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "it writes", func() bool { return output(registry, record.Name) == "up\n" })
	if _, err := os.Stat(registry.Folder.ranks(record.Name)); err != nil {
		t.Error(err)
	}
	if err := registry.Cancel(record.Name, true); err != nil {
		t.Fatal(err)
	}
	followed(t, registry, record.Name, 0)
	if _, err := os.Stat(registry.Folder.ranks(record.Name)); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
	// The same for one that the server's stop ended.
	record.State, record.Name = Running, "lost"
	if err := registry.Folder.create(record); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(registry.Folder.ranks("lost"), 0o700); err != nil {
		t.Fatal(err)
	}
	registry.Recover()
	if _, err := os.Stat(registry.Folder.ranks("lost")); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
}
