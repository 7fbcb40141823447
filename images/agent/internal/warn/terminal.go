package warn

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"devservers.io/agent/internal/activity"
	"devservers.io/agent/internal/cgroup"
	"devservers.io/agent/internal/procfs"
)

// Terminal is a pseudo-terminal and the program in its foreground.
type Terminal struct {
	Path      string
	Columns   int    // 0 where it isn't known
	Canonical bool   // whether the kernel edits the line
	Program   string // in the foreground, "" where it isn't known
	Term      string // the program's TERM
}

const (
	ptsMajor     = 136
	ptsMajorLast = 143
)

// Programs that edit one line at the cursor, so that a line can be put above it.
var lineEditors = map[string]bool{
	"bash": true, "zsh": true, "fish": true, "sh": true, "dash": true, "ash": true, "busybox": true, "ksh": true,
	"mksh": true, "tcsh": true, "csh": true, "nu": true, "xonsh": true, "python": true, "python3": true,
	"ipython": true, "ipython3": true, "node": true, "psql": true, "sqlite3": true, "gdb": true, "pdb": true,
	"ssh": true, "irb": true, "R": true, "julia": true,
}

// Clients of programs whose own terminals get the line.
var multiplexers = map[string]bool{"tmux: client": true, "tmux": true, "screen": true, "zellij": true}

// Sequence is what shows one line of text in the terminal and leaves what is being typed readable; nil for none.
//
// At a line that is being typed, the text goes above it: IND makes room below without changing the column, IL moves
// the typed line down, and the cursor follows it. In a program that draws the whole screen the text covers the last
// row, where editors have their status, until the program draws it again, and the cursor returns.
func (terminal Terminal) Sequence(text string) []byte {
	if multiplexers[terminal.Program] {
		return nil
	}
	if terminal.Columns > 1 {
		if runes := []rune(text); len(runes) >= terminal.Columns {
			text = string(runes[:terminal.Columns-1])
		}
	}
	switch {
	case terminal.Term == "" || terminal.Term == "dumb":
		return []byte("\r\n" + text + "\r\n")
	case terminal.Canonical || lineEditors[terminal.Program]:
		return []byte("\x1bD\x1b[A\x1b7\r\x1b[L\x1b[0m" + text + "\x1b8\x1b[B")
	default:
		return []byte("\x1b7\x1b[999;1H\x1b[0;7m\x1b[2K" + text + "\x1b8")
	}
}

// Terminals are the pseudo-terminals that this account owns.
func Terminals(root string) []Terminal {
	paths, _ := activity.TerminalPaths(root)
	if len(paths) == 0 {
		return nil
	}
	foreground := foregrounds(root)
	var terminals []Terminal
	for _, path := range paths {
		var status syscall.Stat_t
		if syscall.Lstat(path, &status) != nil || status.Mode&syscall.S_IFMT != syscall.S_IFCHR ||
			int(status.Uid) != os.Geteuid() || major(status.Rdev) < ptsMajor || major(status.Rdev) > ptsMajorLast {
			continue
		}
		terminal := Terminal{Path: path}
		if group := foreground[ttyNumber(status.Rdev)]; group > 0 {
			terminal.Program, terminal.Term = program(root, group)
		}
		terminals = append(terminals, terminal)
	}
	return terminals
}

// Write shows the text in the terminal. It never waits: a terminal that is stopped (Ctrl-S) or hung up is an error.
func (terminal Terminal) Write(text string) error {
	file, err := syscall.Open(terminal.Path,
		syscall.O_WRONLY|syscall.O_NOCTTY|syscall.O_NONBLOCK|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(file)
	var settings syscall.Termios
	if ioctl(file, syscall.TCGETS, unsafe.Pointer(&settings)) == 0 {
		terminal.Canonical = settings.Lflag&syscall.ICANON != 0
	}
	var size struct{ rows, columns, x, y uint16 }
	if ioctl(file, syscall.TIOCGWINSZ, unsafe.Pointer(&size)) == 0 {
		terminal.Columns = int(size.columns)
	}
	sequence := terminal.Sequence(text)
	if sequence == nil {
		return nil
	}
	_, err = syscall.Write(file, sequence)
	return err
}

func ioctl(file int, request uintptr, value unsafe.Pointer) syscall.Errno {
	_, _, code := syscall.Syscall(syscall.SYS_IOCTL, uintptr(file), request, uintptr(value))
	return code
}

func major(device uint64) uint64 { return device >> 8 & 0xfff }

// ttyNumber is a device's number as /proc/PID/stat has it.
func ttyNumber(device uint64) int64 {
	minor := device&0xff | device>>12&0xfff00
	return int64(minor&0xff | major(device)<<8 | minor&^0xff<<12)
}

// foregrounds are the foreground process groups of terminals, by the terminal's number.
func foregrounds(root string) map[int64]int {
	groups := map[int64]int{}
	for _, process := range procfs.Processes(filepath.Join(root, "proc")) {
		fields := process.Fields // state, ppid, pgrp, session, tty_nr, tpgid
		if len(fields) < 6 {
			continue
		}
		terminal, _ := strconv.ParseInt(fields[4], 10, 64)
		if group, _ := strconv.Atoi(fields[5]); terminal != 0 && group > 0 {
			groups[terminal] = group
		}
	}
	return groups
}

func program(root string, pid int) (string, string) {
	folder := filepath.Join(root, "proc", strconv.Itoa(pid))
	name, _ := cgroup.ReadFile(filepath.Join(folder, "comm"))
	environment, _ := cgroup.ReadFile(filepath.Join(folder, "environ"))
	for variable := range strings.SplitSeq(environment, "\x00") {
		if term, ok := strings.CutPrefix(variable, "TERM="); ok {
			return strings.TrimSpace(name), term
		}
	}
	return strings.TrimSpace(name), ""
}
