package setup

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"devservers.io/agent/internal/protocol"
)

type world struct {
	t     *testing.T
	setup *Setup
	runs  [][]string
}

// newWorld runs programs for real, but for git clone, which takes a local repository in place of the URL.
func newWorld(t *testing.T) *world {
	world := &world{t: t}
	world.setup = &Setup{Folder: t.TempDir(), Home: t.TempDir(), Env: os.Environ()}
	world.setup.Run = func(ctx context.Context, program Program) (int, error) {
		world.runs = append(world.runs, program.Argv)
		command := exec.CommandContext(ctx, program.Argv[0], program.Argv[1:]...)
		command.Env, command.Dir, command.Stdout, command.Stderr = program.Env, program.Dir, program.Output, program.Output
		err := command.Run()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return exit.ExitCode(), nil
		}
		return 0, err
	}
	return world
}

func (world *world) file(name, text string) {
	if err := os.WriteFile(filepath.Join(world.setup.Folder, name), []byte(text), 0o444); err != nil {
		world.t.Fatal(err)
	}
}

func (world *world) steps(want ...protocol.Step) {
	world.t.Helper()
	world.setup.Apply(context.Background())
	got := world.setup.Steps()
	for i := range got {
		got[i].Seconds = 0
	}
	if !reflect.DeepEqual(got, want) {
		world.t.Errorf("%v, want %v\n%s", got, want, world.log())
	}
	world.setup.steps = nil
}

func (world *world) log() string {
	text, _ := os.ReadFile(filepath.Join(world.setup.Home, ".local/state/devserver/setup.log"))
	return string(text)
}

func TestApplyWithoutSetUpDoesNothing(t *testing.T) {
	world := newWorld(t)
	world.file("script", " \n")
	world.steps()
	world.setup.Folder = "/does/not/exist"
	world.steps()
	if entries, _ := os.ReadDir(world.setup.Home); len(entries) != 0 {
		t.Error(entries)
	}
}

func TestApplyRunsThoughTheLogIsAPipeOrALink(t *testing.T) {
	for _, place := range []func(path, other string) error{
		func(path, _ string) error { return syscall.Mkfifo(path, 0o600) },
		func(path, other string) error { return os.Symlink(other, path) },
	} {
		world := newWorld(t)
		other := filepath.Join(t.TempDir(), "other")
		state := filepath.Join(world.setup.Home, ".local/state/devserver")
		if err := errors.Join(os.MkdirAll(state, 0o755), place(filepath.Join(state, "setup.log"), other)); err != nil {
			t.Fatal(err)
		}
		world.file("script", "exit 3")
		done := make(chan struct{})
		go func() {
			world.setup.Apply(context.Background())
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("it waits for a reader")
		}
		if steps := world.setup.Steps(); len(steps) != 1 || steps[0].ExitCode != 3 {
			t.Error(steps)
		}
		if _, err := os.Stat(other); !os.IsNotExist(err) {
			t.Error("it followed the link")
		}
	}
}

func TestApplyRunsTheScriptByItsFirstLine(t *testing.T) {
	world := newWorld(t)
	world.file("script", "echo \"$0 $HOME\"; pwd; exit 3\n")
	world.steps(protocol.Step{Step: "script", ExitCode: 3})
	if log := world.log(); !strings.Contains(log, world.setup.Home+"\n"+world.setup.Home+"\n") || !strings.Contains(log, "== script: exit code 3") {
		t.Error(log)
	}
	os.Remove(filepath.Join(world.setup.Folder, "script"))
	world.file("script", "#!/usr/bin/env -S sed -n 2p\nsecond\n")
	world.steps(protocol.Step{Step: "script"})
	if log := world.log(); log != "== script\nsecond\n== script: exit code 0 after 0 s\n" {
		t.Errorf("%q", log)
	}
	os.Remove(filepath.Join(world.setup.Folder, "script"))
	world.file("script", "#!/does/not/exist\n")
	world.steps(protocol.Step{Step: "script", ExitCode: exitNotRun})
}

func git(t *testing.T, folder string, args ...string) {
	t.Helper()
	command := exec.Command("git", append([]string{"-C", folder, "-c", "user.name=a", "-c", "user.email=a@b"}, args...)...)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
}

func TestApplyClonesThenPullsDotfilesAndRunsTheirInstaller(t *testing.T) {
	origin := t.TempDir()
	git(t, origin, "init", "-q", "-b", "main")
	os.WriteFile(origin+"/setup.sh", []byte("echo wrong"), 0o755)
	os.WriteFile(origin+"/install.sh", []byte("echo one; pwd"), 0o644)
	git(t, origin, "add", ".")
	git(t, origin, "commit", "-qm", "one")
	world := newWorld(t)
	// git itself turns the URL into the local folder; the agent's rule for transports is loosened for it here alone.
	config := t.TempDir() + "/config"
	os.WriteFile(config, []byte("[url \""+origin+"\"]\n\tinsteadOf = https://git.example/ada/dotfiles\n"), 0o600)
	world.setup.Env = append(world.setup.Env, "GIT_CONFIG_GLOBAL="+config)
	run := world.setup.Run
	world.setup.Run = func(ctx context.Context, program Program) (int, error) {
		if !strings.Contains(strings.Join(program.Env, "\n"), "GIT_ALLOW_PROTOCOL=https:http:ssh\n") {
			t.Error("git may use any transport")
		}
		program.Env = append(program.Env, "GIT_ALLOW_PROTOCOL=file")
		return run(ctx, program)
	}
	world.file("dotfiles", "https://git.example/ada/dotfiles\n")
	world.file("script", "echo script")
	all := []protocol.Step{{Step: "dotfiles"}, {Step: "dotfiles-install"}, {Step: "script"}}
	world.steps(all...)
	dotfiles := world.setup.Home + "/.dotfiles"
	if log := world.log(); !strings.Contains(log, "one\n"+dotfiles+"\n") || strings.Contains(log, "wrong") {
		t.Error(log)
	}
	os.WriteFile(origin+"/install.sh", []byte("#!/bin/sh\necho two"), 0o755)
	os.Chmod(origin+"/install.sh", 0o755)
	git(t, origin, "commit", "-qam", "two")
	world.steps(all...)
	if log := world.log(); !strings.Contains(log, "\ntwo\n") {
		t.Error(log)
	}
	if last := world.runs[len(world.runs)-2]; !reflect.DeepEqual(last, []string{dotfiles + "/install.sh"}) {
		t.Error(last)
	}
	os.RemoveAll(origin)
	world.steps(protocol.Step{Step: "dotfiles", ExitCode: 1}, protocol.Step{Step: "script"})
}

func TestApplyRefusesWhatIsNoRepository(t *testing.T) {
	for _, url := range []string{
		"--upload-pack=touch /tmp/x", "ext::sh -c 'touch /tmp/x'", "file:///etc", "/etc", "https://a b", "git@host:-x",
		"https://-oProxyCommand=x/", "ssh://-oProxyCommand=x/y", "https://a\nb", "-oa@host:path", "git@-h:x",
	} {
		world := newWorld(t)
		world.file("dotfiles", url)
		world.steps(protocol.Step{Step: "dotfiles", ExitCode: exitNotRun})
		if len(world.runs) != 0 {
			t.Error(url, world.runs)
		}
	}
	for _, url := range []string{"https://github.com/ada/dotfiles.git", "ssh://git@host:22/a/b", "git@github.com:ada/dotfiles"} {
		if !repository.MatchString(url) {
			t.Error(url)
		}
	}
	world := newWorld(t)
	world.file("dotfiles", "https://git.example/a")
	world.file("dotfiles-branch", "--config=x")
	world.steps(protocol.Step{Step: "dotfiles", ExitCode: exitNotRun})
}

func TestApplyEndsAStepWithItsTime(t *testing.T) {
	world := newWorld(t)
	world.file("script", "sleep 60")
	world.setup.Run = func(ctx context.Context, program Program) (int, error) {
		if _, limited := ctx.Deadline(); !limited {
			t.Error("there is no time limit")
		}
		return 137, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	world.setup.Apply(ctx)
	if steps := world.setup.Steps(); len(steps) != 1 || steps[0].ExitCode != exitTimeout {
		t.Error(steps)
	}
}

func TestLogIsBoundedAndAbsentOnAHomeThatIsReadOnly(t *testing.T) {
	world := newWorld(t)
	world.file("script", "head -c 3000000 /dev/zero; echo err >&2; exit 0")
	world.steps(protocol.Step{Step: "script"})
	if log := world.log(); len(log) > maxLog+100 || !strings.HasSuffix(log, "== the rest is left out\n") {
		t.Error(len(log), log[len(log)-50:])
	}
	log := openLog("/does/not/exist/log")
	if size, err := log.Write([]byte("text")); size != 4 || err != nil {
		t.Error(size, err)
	}
	log.Close()
}
