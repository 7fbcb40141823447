// Package agent holds what the first process of a pod and the rest of the agent need of each other.
package agent

import (
	"runtime/debug"
	"time"

	"devservers.io/agent/internal/command"
	"devservers.io/agent/internal/message"
	"devservers.io/agent/internal/output"
	"devservers.io/agent/internal/process"
)

// Host is what the first process offers to a Service.
type Host struct {
	Processes *process.Reaper
	Output    *output.Buffer
	// Command is the person's command, nil if the server has none.
	Command *command.Command
	// Grace is the time between SIGTERM and the end.
	Grace time.Duration
}

// Say writes one of the agent's own lines.
func (Host) Say(text string, err error) { message.Say(text, err) }

// Go runs a function beside the rest. A panic of it is said and ends nothing else: the server must go on.
func (h Host) Go(name string, run func()) {
	go func() {
		defer func() {
			if failure := recover(); failure != nil {
				message.Sayf("%s failed: %v\n%s", name, failure, debug.Stack())
			}
		}()
		run()
	}()
}

// Ending is why the server stops, as far as the agent was told.
type Ending struct {
	Reason   string
	OOMKills int
}

// Service is what runs beside sshd and the command, and takes part in the stop.
type Service interface {
	// Stopping is called when SIGTERM came, with the time to the end, before hooks and programs hear of it. It returns
	// within three seconds.
	Stopping(grace time.Duration)
	// Ending is called after Stopping.
	Ending() Ending
}
