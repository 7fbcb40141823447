package stop

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"devservers.io/agent/internal/procfs"
)

// process is what a stop has to know about a process of this pod.
type process struct {
	pid, session int
	terminal     bool // whether it has one
	name         string
}

// table reads the processes of this pod from /proc.
type table struct {
	root string // /proc
	self int
}

func (t table) read(pid int, name string) []byte {
	text, _ := os.ReadFile(filepath.Join(t.root, strconv.Itoa(pid), name))
	return text
}

// list returns all processes but the agent; none that has ended.
func (t table) list() []process {
	var running []process
	for _, stat := range procfs.Processes(t.root) {
		if one, ok := ofStat(stat); ok && stat.ID != t.self {
			running = append(running, one)
		}
	}
	return running
}

// parseStat reads /proc/PID/stat.
func parseStat(pid int, text []byte) (process, bool) {
	stat, ok := procfs.Parse(pid, string(text))
	if !ok {
		return process{}, false
	}
	return ofStat(stat)
}

// ofStat is what a stop has to know; false for a process that has ended.
func ofStat(stat procfs.Process) (process, bool) {
	fields := stat.Fields // state, parent, group, session, terminal
	if len(fields) < 5 || strings.ContainsAny(fields[0], "ZX") {
		return process{}, false
	}
	session, wrongSession := strconv.Atoi(fields[3])
	terminal, wrongTerminal := strconv.Atoi(fields[4])
	if wrongSession != nil || wrongTerminal != nil {
		return process{}, false
	}
	return process{stat.ID, session, terminal != 0, stat.Name}, true
}

func (t table) catchesTerm(pid int) bool {
	for _, line := range strings.Split(string(t.read(pid, "status")), "\n") {
		if mask, found := strings.CutPrefix(line, "SigCgt:"); found {
			signals, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return err == nil && signals>>(syscall.SIGTERM-1)&1 == 1
		}
	}
	return false
}

var shells = map[string]bool{
	"bash": true, "sh": true, "dash": true, "ash": true, "zsh": true, "fish": true, "ksh": true, "mksh": true,
	"tcsh": true, "csh": true,
}

// isInteractiveShell tells whether a process is a shell at its prompt or waiting for what was typed there; not one that
// runs a script (an argument) or a line (-c).
func (t table) isInteractiveShell(one process) bool {
	return one.terminal && shells[one.name] && interactive(t.read(one.pid, "cmdline"))
}

func interactive(commandLine []byte) bool {
	arguments := strings.Split(strings.TrimSuffix(string(commandLine), "\x00"), "\x00")[1:]
	for at := 0; at < len(arguments); at++ {
		argument := arguments[at]
		if !strings.HasPrefix(argument, "-") || (!strings.HasPrefix(argument, "--") && strings.Contains(argument, "c")) {
			return false
		}
		switch argument {
		case "--init-file", "--rcfile", "--init-command":
			// An editor's own start-up file.
			at++
		}
	}
	return true
}

// holdsTerminals tells whether a process has given somebody a terminal, which closes when it ends: tmux, screen,
// script, an editor's server.
func (t table) holdsTerminals(pid int) bool {
	folder := filepath.Join(t.root, strconv.Itoa(pid), "fd")
	opened, err := os.Open(folder)
	if err != nil {
		return false
	}
	defer opened.Close()
	names, _ := opened.Readdirnames(-1)
	for _, name := range names {
		if target, err := os.Readlink(filepath.Join(folder, name)); err == nil && strings.HasSuffix(target, "/ptmx") {
			return true
		}
	}
	return false
}
