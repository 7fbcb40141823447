package wish

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"devservers.io/agent/internal/protocol"
)

// run starts the command when the agent knows of it, and ends with its exit code.
func (client client) run(options options) int {
	reason := options.reason
	if reason == "" {
		reason = "runs " + options.command[0]
		reason = protocol.Printable(reason, protocol.MaxReason)
	}
	response, conn, err := client.call(Request{Command: "run", Seconds: options.seconds, Reason: reason}, true)
	if err == nil && response.Error != "" {
		return client.fail(exitRefused, errors.New(response.Error+"; the command was not started"))
	}
	if err != nil {
		return client.fail(exitNoAnswer, fmt.Errorf("%w; the command was not started", err))
	}
	defer conn.Close()
	// A terminal sends Ctrl-C to both; the command decides whether it ends.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP)
	command := exec.Command(options.command[0], options.command[1:]...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, client.out, client.err
	if err := command.Start(); err != nil {
		client.fail(0, fmt.Errorf("%s can't be started: %w", options.command[0], errors.Unwrap(err)))
		if errors.Is(err, os.ErrPermission) {
			return 126
		}
		return 127
	}
	if response.ID != "" {
		go client.watch(response.ID)
	}
	go func() {
		for received := range signals {
			if received == syscall.SIGTERM || received == syscall.SIGHUP {
				_ = command.Process.Signal(received)
			}
		}
	}()
	_ = command.Wait()
	if status, ok := command.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return command.ProcessState.ExitCode()
}

// watch says when the hold of a running command is refused; the command goes on.
func (client client) watch(id string) {
	for deadline := time.Now().Add(client.wait); time.Now().Before(deadline); time.Sleep(client.pause) {
		response, _, err := client.call(Request{Command: "answer", ID: id}, false)
		if err != nil || response.Error != "" {
			return
		}
		if answer := response.Answer; answer != nil {
			if !answer.Accepted {
				fmt.Fprintf(client.err, "devserver: the hold is refused: %s; the command goes on and counts as activity\n", answer.Message)
			}
			return
		}
	}
}
