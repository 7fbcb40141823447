package run

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"

	"devservers.io/agent/internal/agent"
	"devservers.io/agent/internal/command"
	"devservers.io/agent/internal/hooks"
	"devservers.io/agent/internal/message"
	"devservers.io/agent/internal/output"
	"devservers.io/agent/internal/paths"
	"devservers.io/agent/internal/process"
	"devservers.io/agent/internal/sshd"
	"devservers.io/agent/internal/stop"
)

// server is what runs in the pod.
type server struct {
	reaper  *process.Reaper
	output  *output.Buffer
	command *command.Command

	certificate *sshd.Certificate
	sshdLog     *os.File // for sshd to write into; nil if there is no log
	sshd        *process.Process
	sshdStarted time.Time
}

func (s *server) startSSH() {
	if read, write, err := process.Pipe(); err == nil {
		go copyLog(sshd.LogFile(), read)
		s.sshdLog = write
	}
	s.certificate = sshd.NewCertificate(paths.HostCertificate)
	s.startSSHD()
}

func copyLog(log io.Writer, read io.Reader) {
	block := make([]byte, 4096)
	for {
		size, err := read.Read(block)
		if err != nil {
			return
		}
		_, _ = log.Write(block[:size])
	}
}

func (s *server) startSSHD() {
	s.sshdStarted = time.Now()
	s.storeConfig()
	started, err := s.reaper.Start(process.Spec{Argv: sshd.Argv(), Stderr: s.sshdLog})
	if err != nil {
		message.Say("sshd can't be started", err)
	}
	s.sshd = started
}

func (s *server) storeConfig() bool {
	err := sshd.StoreConfig()
	if err != nil {
		message.Say("the SSH configuration can't be written", err)
	}
	return err == nil
}

func (s *server) watchSSH() {
	if s.sshd != nil {
		select {
		case <-s.sshd.Done():
			message.Say("sshd ended and is started again", nil)
			s.sshd = nil
		default:
		}
	}
	if s.certificate.Changed() && s.storeConfig() && s.sshd != nil {
		// It runs itself anew (sshd(8)); who is logged in has a process of their own.
		_ = s.sshd.Signal(syscall.SIGHUP)
	}
	// At most once a second, whether it just died or could not be started.
	if s.sshd == nil && time.Since(s.sshdStarted) >= time.Second {
		s.startSSHD()
	}
}

func (s *server) startCommand(argv []string) {
	s.command = command.New(paths.CommandState)
	s.command.Running()
	out, outCopier, outFailure := output.Pipe(1, s.output.Stream())
	errors, errorsCopier, errorsFailure := output.Pipe(2, s.output.Stream())
	// Without a pipe the command writes to the container's log itself.
	if outFailure != nil || errorsFailure != nil {
		out, errors = nil, nil
	}
	started, err := s.reaper.Start(process.Spec{Argv: argv, Stdout: out, Stderr: errors})
	_, _ = out.Close(), errors.Close()
	if err != nil {
		message.Say(argv[0]+" can't be started", err)
		message.Say("the command ended; the server stays", asError(s.command.Exited(command.CodeOf(err))))
		return
	}
	go func() {
		<-started.Done()
		for _, copier := range []*output.Copier{outCopier, errorsCopier} {
			if copier != nil {
				// What it printed last comes before the line about its end.
				copier.Drain(time.Second)
			}
		}
		message.Say("the command ended; the server stays", asError(s.command.Ended(started.Status())))
	}()
}

func asError(text string) error { return errors.New(text) }

// stop runs the hooks and ends everything within the grace period.
func (s *server) stop(grace time.Duration, service agent.Service) {
	began := time.Now()
	// Hooks and what they start are collected as before.
	stopped := make(chan struct{})
	defer close(stopped)
	go func() {
		for {
			select {
			case <-stopped:
				return
			case <-time.After(20 * time.Millisecond):
				s.reaper.Collect()
			}
		}
	}()
	var ending agent.Ending
	if service != nil {
		service.Stopping(grace)
		ending = service.Ending()
	}
	// Twice: what follows may take until the container is killed.
	s.writeTermination(ending)
	hooks.Hooks{Home: paths.Home, Reaper: s.reaper}.Run((grace-time.Since(began))/2, ending.Reason)
	stop.Everything(s.reaper.Collect, grace-time.Since(began))
	if service != nil {
		ending = service.Ending()
	}
	s.writeTermination(ending)
}

func (s *server) writeTermination(ending agent.Ending) {
	writeTermination(paths.TerminationLog, termination(ending, s.output.Last(output.MaxLines, output.MaxBytes)))
}
