// Package hooks runs a person's own programs before the server stops.
//
// They are ~/.config/devserver/on-stop, then the programs of the folder on-stop.d in the order of their names. What they
// print is kept in ~/.local/state/devserver/on-stop.log.
package hooks

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"devservers.io/agent/internal/environment"
	"devservers.io/agent/internal/process"
)

const (
	// maxLog is the size from which on the log is begun anew, with the one before kept; maxOutput is what one stop may
	// add to it.
	maxLog    = 256 * 1024
	maxOutput = 64 * 1024
)

// Hooks are a home's.
type Hooks struct {
	Home   string
	Reaper *process.Reaper
}

func (h Hooks) config() string { return filepath.Join(h.Home, ".config", "devserver") }
func (h Hooks) state() string  { return filepath.Join(h.Home, ".local", "state", "devserver") }

// List returns the programs in the order they run.
func (h Hooks) List() []string {
	var found []string
	paths := []string{filepath.Join(h.config(), "on-stop")}
	// Sorted by name.
	entries, _ := os.ReadDir(filepath.Join(h.config(), "on-stop.d"))
	for _, entry := range entries {
		paths = append(paths, filepath.Join(h.config(), "on-stop.d", entry.Name()))
	}
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && syscall.Access(path, 1) == nil {
			found = append(found, path)
		}
	}
	return found
}

// Run runs the hooks one after the other, and returns when they are done or the time is over. One that is not done by
// then is left to the stop of all programs, which ends it as any other.
func (h Hooks) Run(limit time.Duration, reason string) {
	done, late := make(chan struct{}), make(chan struct{})
	// Beside: the home may lie on a file system that does not answer.
	go func() {
		defer close(done)
		h.run(late, reason)
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		close(late)
		// Time for the line about it.
		select {
		case <-done:
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (h Hooks) run(late <-chan struct{}, reason string) {
	programs := h.List()
	if len(programs) == 0 {
		return
	}
	log, err := h.open()
	if err != nil {
		log = io.Discard
	}
	because := ""
	if reason != "" {
		because = " (" + reason + ")"
	}
	for _, program := range programs {
		began := time.Now()
		fmt.Fprintf(log, "%s %s: started%s\n", stamp(), filepath.Base(program), because)
		end := h.one(program, log, late, reason)
		fmt.Fprintf(log, "%s %s: %s after %.1f s\n", stamp(), filepath.Base(program), end, time.Since(began).Seconds())
		select {
		case <-late:
			return
		default:
		}
	}
}

func stamp() string { return time.Now().UTC().Format(time.RFC3339) }

func (h Hooks) one(program string, log io.Writer, late <-chan struct{}, reason string) string {
	read, write, err := process.Pipe()
	if err != nil {
		return err.Error()
	}
	defer read.Close()
	variables := environment.With(os.Environ(), "DEVSERVERS_STOP_REASON", reason)
	started, err := h.Reaper.Start(process.Spec{
		Argv: []string{program}, Env: variables, Dir: h.Home, Stdout: write, Stderr: write,
	})
	_ = write.Close()
	if err != nil {
		return "can't be started: " + err.Error()
	}
	printed := make(chan struct{})
	go func() {
		defer close(printed)
		kept, _ := io.CopyN(log, read, maxOutput)
		if dropped, _ := io.Copy(io.Discard, read); kept == maxOutput && dropped > 0 {
			fmt.Fprintf(log, "\n(%d bytes more were not kept)\n", dropped)
		}
	}()
	select {
	case <-started.Done():
	case <-late:
		return "not done when its time was over; it goes on until all programs are ended"
	}
	// What it leaves behind may hold its output open.
	select {
	case <-printed:
	case <-time.After(time.Second):
	case <-late:
	}
	if status := started.Status(); status.Signaled() {
		return fmt.Sprintf("signal %d", int(status.Signal()))
	}
	return fmt.Sprintf("exit code %d", started.Status().ExitStatus())
}

// open opens the log for adding to it. A pipe or a device in its place is refused: it could block for ever.
func (h Hooks) open() (io.Writer, error) {
	if err := os.MkdirAll(h.state(), 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(h.state(), "on-stop.log")
	if info, err := os.Lstat(path); err == nil && info.Size() > maxLog {
		_ = os.Rename(path, path+".1")
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		_ = file.Close()
		return nil, fmt.Errorf("%s is no file", path)
	}
	return &bounded{file: file, left: maxLog}, nil
}

// bounded takes what fits and drops the rest.
type bounded struct {
	mutex sync.Mutex // what a hook left behind may still print
	file  *os.File
	left  int
}

func (b *bounded) Write(text []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	size := min(len(text), b.left)
	b.left -= size
	_, _ = b.file.Write(text[:size])
	return len(text), nil
}
