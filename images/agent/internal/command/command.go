// Package command keeps what became of the person's command.
//
// It is a file that people read by exec with their own rights, for `devctl describe`, so that neither the pod needs a
// credential nor the operator another right.
package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"devservers.io/agent/internal/environment"
)

// State is how the command ended; ExitCode or Signal is set.
type State struct {
	ExitCode *int
	Signal   *int
	Ended    time.Time
}

// Command is the person's command.
type Command struct {
	file  string
	mutex sync.Mutex
	state *State
}

// New returns a command whose state is kept in a file.
func New(file string) *Command { return &Command{file: file} }

// Running notes that it was started.
func (c *Command) Running() { c.store(State{Ended: time.Now()}) }

// Ended notes how it ended, and returns that in words.
func (c *Command) Ended(status syscall.WaitStatus) string {
	if status.Signaled() {
		number := int(status.Signal())
		c.end(State{Signal: &number, Ended: time.Now()})
		return fmt.Sprintf("signal %d", number)
	}
	return c.Exited(status.ExitStatus())
}

// Exited notes an exit code, and returns it in words.
func (c *Command) Exited(code int) string {
	c.end(State{ExitCode: &code, Ended: time.Now()})
	return fmt.Sprintf("exit code %d", code)
}

// State is how it ended; nil while it runs.
func (c *Command) State() *State {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.state
}

func (c *Command) end(state State) {
	c.mutex.Lock()
	c.state = &state
	c.mutex.Unlock()
	c.store(state)
}

func (c *Command) store(state State) {
	text, err := json.Marshal(struct {
		At       string `json:"at"`
		ExitCode *int   `json:"exitCode,omitempty"`
		Signal   *int   `json:"signal,omitempty"`
	}{state.Ended.UTC().Format(time.RFC3339), state.ExitCode, state.Signal})
	if err == nil {
		_ = environment.Replace(c.file, append(text, '\n'), 0o644)
	}
}

// CodeOf is the exit code that a shell gives for a program that can't be started.
func CodeOf(err error) int {
	if errors.Is(err, syscall.ENOENT) {
		return 127
	}
	return 126
}
