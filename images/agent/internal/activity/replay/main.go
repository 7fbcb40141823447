// Command replay runs the agent's measurement over a recorded trace, on the trace's own clock.
//
// It reads a JSON object for each sample from standard input and writes one for each: what a report would say then.
// The tests and the bench use it; it is in no image.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"devservers.io/agent/internal/activity"
)

// window is the one of internal/lifecycle.
const window = time.Minute

type sample struct {
	At            float64 `json:"at"` // seconds from the start
	TerminalInput bool    `json:"terminalInput"`
	SSHBytes      uint64  `json:"sshBytes"` // since the sample before, on one connection
	Connected     bool    `json:"connected"`
	CPUMillicores int64   `json:"cpuMillicores"` // mean since the sample before
	GPUPercent    *int64  `json:"gpuPercent"`    // nil without a GPU
	Unreadable    bool    `json:"unreadable"`    // the control group can't be read
}

type state struct {
	At          float64  `json:"at"`
	IdleSeconds *int64   `json:"idleSeconds"`
	Source      string   `json:"source"`
	Unreadable  []string `json:"unreadable"`
}

// world is a file tree like a container's, as far as the measurement reads it.
type world struct {
	root       string
	now        time.Duration
	used       time.Duration
	bytes      uint64
	connected  bool
	typed      int64
	gpu        sync.Mutex
	gpuPercent int64
}

func main() {
	thresholds := activity.Thresholds{}
	flag.Int64Var(&thresholds.CPUMillicores, "cpu-millicores", 0, "threshold")
	flag.Int64Var(&thresholds.GPUPercent, "gpu-percent", 0, "threshold")
	flag.Int64Var(&thresholds.SSHBytesPerMinute, "ssh-bytes-per-minute", 0, "threshold")
	flag.Parse()
	if err := replay(thresholds); err != nil {
		fmt.Fprintln(os.Stderr, "replay:", err)
		os.Exit(1)
	}
}

func replay(thresholds activity.Thresholds) error {
	root, err := os.MkdirTemp("", "devservers-replay-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	w := &world{root: root}
	for _, folder := range []string{"dev/pts", "sys/fs/cgroup", "proc", "usr/bin"} {
		if err := os.MkdirAll(filepath.Join(root, folder), 0o700); err != nil {
			return err
		}
	}
	meter := activity.New(
		func() time.Duration { return w.now },
		&activity.Terminals{Root: root},
		&activity.SSH{List: w.connections, Window: window},
		&activity.CPU{Root: root, Self: func() time.Duration { return 0 }},
		&activity.GPU{Root: root, Run: w.nvidiaSMI},
	)
	meter.SetThresholds(thresholds)
	lines, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var s sample
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			return err
		}
		if err := w.set(s); err != nil {
			return err
		}
		meter.Sample()
		time.Sleep(w.settle(s))
		measured := meter.State()
		line := state{At: s.At, Source: measured.Source, Unreadable: measured.Unreadable}
		if measured.Idle != nil {
			seconds := int64(measured.Idle.Seconds())
			line.IdleSeconds = &seconds
		}
		if err := out.Encode(line); err != nil {
			return err
		}
	}
	return lines.Err()
}

// settle is how long the answer of the pretended nvidia-smi takes, which runs beside the samples.
func (w *world) settle(s sample) time.Duration {
	if s.GPUPercent == nil {
		return 0
	}
	return time.Millisecond
}

func (w *world) set(s sample) error {
	now := time.Duration(s.At * float64(time.Second))
	w.used += (now - w.now) * time.Duration(s.CPUMillicores) / 1000
	w.now, w.connected = now, s.Connected || s.SSHBytes > 0
	w.bytes += s.SSHBytes
	if s.TerminalInput {
		w.typed++
	}
	terminal := filepath.Join(w.root, "dev/pts/0")
	if err := os.WriteFile(terminal, nil, 0o600); err != nil {
		return err
	}
	if err := os.Chtimes(terminal, time.Unix(w.typed, 0), time.Unix(0, 0)); err != nil {
		return err
	}
	stat := filepath.Join(w.root, "sys/fs/cgroup/cpu.stat")
	if s.Unreadable {
		if err := os.Remove(stat); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	} else if err := os.WriteFile(stat, []byte("usage_usec "+strconv.FormatInt(w.used.Microseconds(), 10)+"\n"), 0o600); err != nil {
		return err
	}
	if s.GPUPercent != nil {
		w.gpu.Lock()
		w.gpuPercent = *s.GPUPercent
		w.gpu.Unlock()
		for _, name := range []string{"dev/nvidia0", "usr/bin/nvidia-smi"} {
			if err := os.WriteFile(filepath.Join(w.root, name), nil, 0o700); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *world) connections() ([]activity.Connection, error) {
	if !w.connected {
		return nil, nil
	}
	return []activity.Connection{{ID: "1", Bytes: w.bytes}}, nil
}

func (w *world) nvidiaSMI(context.Context, ...string) ([]byte, error) {
	w.gpu.Lock()
	defer w.gpu.Unlock()
	return []byte(strconv.FormatInt(w.gpuPercent, 10) + "\n"), nil
}
