// Package procfs lists the processes that /proc shows.
package procfs

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"devservers.io/agent/internal/cgroup"
)

// Process is a line of /proc/PID/stat.
type Process struct {
	ID     int
	Name   string   // in the kernel's 15 bytes
	Fields []string // from the state on: state, parent, group, session, terminal, ... (proc(5))
}

// Processes are all that can be read below a folder like /proc; what ends meanwhile is left out.
func Processes(folder string) []Process {
	opened, err := os.Open(folder)
	if err != nil {
		return nil
	}
	defer opened.Close()
	names, _ := opened.Readdirnames(-1)
	processes := make([]Process, 0, len(names))
	for _, name := range names {
		id, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		text, err := cgroup.ReadFile(filepath.Join(folder, name, "stat"))
		if err != nil {
			continue
		}
		if process, ok := Parse(id, text); ok {
			processes = append(processes, process)
		}
	}
	return processes
}

// Parse reads such a line. The name is in parentheses and may hold any character.
func Parse(id int, text string) (Process, bool) {
	begin, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if begin < 0 || end < begin {
		return Process{}, false
	}
	return Process{id, text[begin+1 : end], strings.Fields(text[end+1:])}, true
}
