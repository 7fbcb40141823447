package process

import (
	"context"
	"io"
	"syscall"
	"time"
)

const (
	// killAfter is how long a process of Run has between SIGTERM and SIGKILL.
	killAfter = 2 * time.Second
	// drainFor is how long the output of what it left behind is waited for.
	drainFor = time.Second
)

// Run starts a process, passes its output on and waits for its end; with the context's end it ends its group. It returns
// the exit code as a shell has it (128 and more for signals). Nothing is written to output after it has returned.
func (r *Reaper) Run(ctx context.Context, spec Spec, output io.Writer) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	read, write, err := Pipe()
	if err != nil {
		return 0, err
	}
	spec.Stdout, spec.Stderr = write, write
	process, err := r.Start(spec)
	_ = write.Close()
	if err != nil {
		_ = read.Close()
		return 0, err
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(output, read)
	}()
	// A process that it left behind may hold its output open.
	defer func() {
		select {
		case <-copied:
		case <-time.After(drainFor):
		}
		_ = read.Close()
		<-copied
	}()
	select {
	case <-process.Done():
		if status := process.Status(); status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		return process.Status().ExitStatus(), nil
	case <-ctx.Done():
	}
	_ = process.SignalGroup(syscall.SIGTERM)
	select {
	case <-process.Done():
	case <-time.After(killAfter):
		_ = process.SignalGroup(syscall.SIGKILL)
		select {
		case <-process.Done():
		// One that hangs in the kernel (a dead file system, a GPU that doesn't answer).
		case <-time.After(killAfter):
		}
	}
	return 0, ctx.Err()
}
