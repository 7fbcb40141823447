// Package setup applies a person's set-up at each start of a server: dotfiles from a repository, then a script.
//
// Invariant: no text of the set-up becomes a part of a shell's command line, and nothing waits for the set-up.
package setup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"devservers.io/agent/internal/protocol"
)

const (
	gitTimeout    = 2 * time.Minute
	scriptTimeout = 10 * time.Minute
	maxText       = 1 << 20 // a ConfigMap holds no more
	maxLog        = 1 << 20
	exitTimeout   = 124 // as timeout(1)
	exitNotRun    = 126
)

var (
	// Transports that git may use: no ext:: or file::, which run or read what they name.
	repository = regexp.MustCompile(`^((https?|ssh)://[A-Za-z0-9][^\s\x00-\x1f\x7f]*|[A-Za-z0-9._]+@[A-Za-z0-9][A-Za-z0-9.-]*:[^\s\x00-\x1f\x7f-][^\s\x00-\x1f\x7f]*)$`)
	branch     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$`)
	installers = []string{"install.sh", "bootstrap.sh", "setup.sh"}
)

// Program is a program to run, without a terminal or input.
type Program struct {
	Argv   []string
	Env    []string
	Dir    string
	Output io.Writer
}

// Setup runs the steps once.
type Setup struct {
	// Folder has the files dotfiles (a repository's URL), dotfiles-branch and script, each where the person has one.
	Folder string
	Home   string
	Env    []string
	// Run runs a program until it ends or the context does, which ends it, and returns its exit code.
	Run func(ctx context.Context, program Program) (int, error)

	mutex sync.Mutex
	steps []protocol.Step
	log   *log
}

// Steps are those that have ended.
func (setup *Setup) Steps() []protocol.Step {
	setup.mutex.Lock()
	defer setup.mutex.Unlock()
	return append([]protocol.Step(nil), setup.steps...)
}

// Apply runs every step and writes ~/.local/state/devserver/setup.log. It does nothing without a set-up.
func (setup *Setup) Apply(ctx context.Context) {
	url, hasURL := setup.text("dotfiles")
	script, hasScript := setup.text("script")
	if !hasURL && !hasScript {
		return
	}
	state := filepath.Join(setup.Home, ".local/state/devserver")
	_ = os.MkdirAll(state, 0o755)
	setup.log = openLog(filepath.Join(state, "setup.log"))
	defer setup.log.Close()
	if hasURL && setup.step("dotfiles", func() (int, error) { return setup.fetch(ctx, strings.TrimSpace(url)) }) {
		if argv := installer(setup.dotfiles()); argv != nil {
			setup.step("dotfiles-install", func() (int, error) {
				return setup.run(ctx, scriptTimeout, setup.dotfiles(), argv...)
			})
		}
	}
	if hasScript {
		setup.step("script", func() (int, error) { return setup.script(ctx, state, script) })
	}
}

func (setup *Setup) dotfiles() string { return filepath.Join(setup.Home, ".dotfiles") }

// text is a file of the set-up; false where there is none or it is empty.
func (setup *Setup) text(name string) (string, bool) {
	file, err := os.Open(filepath.Join(setup.Folder, name))
	if err != nil {
		return "", false
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxText))
	return string(text), err == nil && len(bytes.TrimSpace(text)) > 0
}

func (setup *Setup) step(name string, run func() (int, error)) bool {
	began := time.Now()
	fmt.Fprintf(setup.log, "== %s\n", name)
	code, err := run()
	if err != nil {
		fmt.Fprintf(setup.log, "%s\n", err)
	}
	took := int64(time.Since(began).Seconds())
	fmt.Fprintf(setup.log, "== %s: exit code %d after %d s\n", name, code, took)
	setup.mutex.Lock()
	defer setup.mutex.Unlock()
	setup.steps = append(setup.steps, protocol.Step{Step: name, ExitCode: code, Seconds: took})
	return code == 0
}

func (setup *Setup) fetch(ctx context.Context, url string) (int, error) {
	if !repository.MatchString(url) {
		return exitNotRun, errors.New("the repository is no URL of https, http or ssh, and not git@HOST:PATH")
	}
	name, hasBranch := setup.text("dotfiles-branch")
	if name = strings.TrimSpace(name); hasBranch && !branch.MatchString(name) {
		return exitNotRun, errors.New("the branch's name is none that git takes from here")
	}
	folder := setup.dotfiles()
	_, err := os.Lstat(filepath.Join(folder, ".git"))
	if errors.Is(err, fs.ErrNotExist) {
		argv := []string{"git", "clone"}
		if hasBranch {
			argv = append(argv, "--branch", name)
		}
		return setup.run(ctx, gitTimeout, setup.Home, append(argv, "--", url, folder)...)
	}
	if code, err := setup.run(ctx, gitTimeout, setup.Home, "git", "-C", folder, "remote", "set-url", "origin", url); code != 0 {
		return code, err
	}
	argv := []string{"git", "-C", folder, "pull", "--ff-only"}
	if hasBranch {
		argv = append(argv, "origin", name)
	}
	return setup.run(ctx, gitTimeout, setup.Home, argv...)
}

// installer is how to run the repository's first script of the known names, nil without one.
func installer(folder string) []string {
	for _, name := range installers {
		path := filepath.Join(folder, name)
		if status, err := os.Stat(path); err == nil && status.Mode().IsRegular() {
			if status.Mode()&0o100 != 0 {
				return []string{path}
			}
			return []string{"sh", path}
		}
	}
	return nil
}

// script runs the person's script by its own first line. Files of a ConfigMap can't be executed, so it is copied.
func (setup *Setup) script(ctx context.Context, state, text string) (int, error) {
	path := filepath.Join(state, "setup-script")
	_ = os.Remove(path)
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		return exitNotRun, err
	}
	if strings.HasPrefix(text, "#!") {
		return setup.run(ctx, scriptTimeout, setup.Home, path)
	}
	return setup.run(ctx, scriptTimeout, setup.Home, "sh", path)
}

func (setup *Setup) run(ctx context.Context, timeout time.Duration, dir string, argv ...string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	env := append(append([]string{}, setup.Env...),
		"HOME="+setup.Home, "GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL=https:http:ssh",
		"GIT_SSH_COMMAND=ssh -oBatchMode=yes -oStrictHostKeyChecking=accept-new")
	code, err := setup.Run(ctx, Program{Argv: argv, Env: env, Dir: dir, Output: setup.log})
	if ctx.Err() != nil {
		return exitTimeout, fmt.Errorf("it was ended after %s", timeout)
	}
	if err != nil {
		return exitNotRun, fmt.Errorf("%s can't be started: %w", argv[0], err)
	}
	return max(0, min(code, 255)), nil
}

// log is a file that stops growing at its limit.
type log struct {
	mutex sync.Mutex
	file  *os.File
	room  int
}

func openLog(path string) *log {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o644)
	if err != nil {
		return &log{} // a full or read-only home, or no file but a link or a pipe: the steps run all the same
	}
	return &log{file: file, room: maxLog}
}

func (log *log) Write(text []byte) (int, error) {
	log.mutex.Lock()
	defer log.mutex.Unlock()
	if log.file == nil || log.room == 0 {
		return len(text), nil
	}
	part := text[:min(len(text), log.room)]
	_, _ = log.file.Write(part)
	if log.room -= len(part); log.room == 0 {
		_, _ = log.file.WriteString("\n== the rest is left out\n")
	}
	return len(text), nil
}

func (log *log) Close() {
	log.mutex.Lock()
	defer log.mutex.Unlock()
	if log.file != nil {
		log.file.Close()
		log.file = nil
	}
}
