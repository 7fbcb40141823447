package activity

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Terminals are the pseudo-terminals of the container.
//
// The kernel sets a terminal's access time when a program reads what was typed, and its modification time when a
// program writes to it (Linux, tty_read and tty_write), each at most every eight seconds. So a change of the access
// time is input. Its value is the time of day and isn't used.
type Terminals struct {
	Root string

	times map[string]syscall.Timespec
}

// Sample is active when an access time changed. A terminal that is new isn't: only input counts.
func (terminals *Terminals) Sample(now time.Duration, _ Thresholds) (Reading, time.Duration, bool) {
	names, err := TerminalPaths(terminals.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return Absent, 0, false
	}
	if err != nil {
		return Unreadable, 0, false
	}
	times := make(map[string]syscall.Timespec, len(names))
	active := false
	for _, name := range names {
		var status syscall.Stat_t
		if err := syscall.Stat(name, &status); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue // closed meanwhile
			}
			return Unreadable, 0, false
		}
		before, known := terminals.times[name]
		active = active || known && before != status.Atim
		times[name] = status.Atim
	}
	terminals.times = times
	return Readable, now, active
}

// TerminalPaths are the pseudo-terminals below a root directory.
func TerminalPaths(root string) ([]string, error) {
	folder := filepath.Join(root, "dev/pts")
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, entry := range entries {
		if _, err := strconv.ParseUint(entry.Name(), 10, 32); err == nil { // not ptmx
			paths = append(paths, filepath.Join(folder, entry.Name()))
		}
	}
	return paths, nil
}
