// Package cgroup reads what a container's own control group counts, of version 1 and 2.
package cgroup

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const maxFile = 16 * 1024

var (
	cpuV1 = []string{"cpuacct/cpuacct.usage", "cpu,cpuacct/cpuacct.usage", "cpuacct,cpu/cpuacct.usage"}
	errNo = errors.New("no control group with this count is mounted")
)

// Group is the control group below a root directory: "/" but in tests.
type Group struct{ Root string }

// CPU is the processor time that all processes of the container have used.
func (group Group) CPU() (time.Duration, error) {
	text, err := group.read("cpu.stat")
	if err == nil {
		number, err := field(text, "usage_usec")
		return time.Duration(number) * time.Microsecond, err
	}
	for _, name := range cpuV1 {
		if text, err = group.read(name); err == nil {
			number, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
			return time.Duration(number), err
		}
	}
	return 0, err
}

// OOMKills is how many processes were killed because the container was out of memory; 0 where nothing counts them.
func (group Group) OOMKills() int64 {
	for _, name := range []string{"memory.events", "memory/memory.oom_control"} {
		if text, err := group.read(name); err == nil {
			if number, err := field(text, "oom_kill"); err == nil {
				return number
			}
		}
	}
	return 0
}

func (group Group) read(name string) (string, error) {
	return ReadFile(filepath.Join(group.Root, "sys/fs/cgroup", name))
}

func field(text, name string) (int64, error) {
	for line := range strings.Lines(text) {
		if parts := strings.Fields(line); len(parts) == 2 && parts[0] == name {
			return strconv.ParseInt(parts[1], 10, 64)
		}
	}
	return 0, errNo
}

// ReadFile is a small file's text, at most 16 KiB of it.
func ReadFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFile))
	return string(text), err
}
