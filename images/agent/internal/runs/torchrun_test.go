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
		{0, "auto", "--standalone --local-addr=127.0.0.1 --nproc-per-node=1 train.py --lr 1\n\n"},
		{4, "auto", "--standalone --local-addr=127.0.0.1 --nproc-per-node=4 --tee=3 train.py --lr 1\n[${rank}] \n"},
		{4, "2", "--standalone --local-addr=127.0.0.1 --nproc-per-node=2 --tee=3 train.py --lr 1\n[${rank}] \n"},
	} {
		registry.GPUs = this.gpus
		record, err := registry.Start(Record{Argv: []string{"train.py", "--lr", "1"}, Dir: t.TempDir(), Torchrun: this.processes})
		if err != nil {
			t.Fatal(err)
		}
		if out, ended := followed(t, registry, record.Name, 0); out != this.want || ended.Processes != record.Processes || ended.shown() != "torchrun train.py --lr 1" {
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
		launched, err := torchrun(1, []string{"x.py"})
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
