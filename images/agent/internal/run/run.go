// Package run is the first process of a dev server, in any image.
//
// It prepares account, environment and home, starts sshd and starts it again when it ends, starts the person's command,
// collects orphans, and stays when the command ends, so that a person can look at what happened. Another host
// certificate is taken over while sessions go on. SIGTERM runs the person's hooks and stops everything (package stop);
// what has not ended by then ends with the pod. No shell, no libc of the image, no right of any kind.
package run

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"time"

	"devservers.io/agent/internal/account"
	"devservers.io/agent/internal/agent"
	"devservers.io/agent/internal/command"
	"devservers.io/agent/internal/environment"
	"devservers.io/agent/internal/home"
	"devservers.io/agent/internal/hooks"
	"devservers.io/agent/internal/message"
	"devservers.io/agent/internal/output"
	"devservers.io/agent/internal/paths"
	"devservers.io/agent/internal/process"
	"devservers.io/agent/internal/shell"
	"devservers.io/agent/internal/sshd"
	"devservers.io/agent/internal/stop"
)

const (
	defaultGrace = 120 * time.Second
	// reservedThreads are made at the start: Go ends a program that can't make a thread, and a person's processes may
	// use up what the pod has of them.
	reservedThreads = 8
	gcPercent       = 25
	// exitCode is not 0: the kubelet takes a pod that it evicts and whose containers end well for one that is done, and
	// forgets why it evicted it (kubernetes, pkg/kubelet/kubelet_pods.go, generateAPIPodStatus).
	exitCode = 128 + int(syscall.SIGTERM)
)

// Options are the arguments of `devserver-agent run`.
type Options struct {
	SSH     bool
	Grace   time.Duration
	Command []string
	// Service starts what runs beside sshd and the command; nil is nothing.
	Service func(agent.Host) (agent.Service, error)
}

// Parse reads [--ssh] [--grace SECONDS] [-- COMMAND [ARGUMENT ...]].
func Parse(arguments []string) (Options, error) {
	options := Options{Grace: defaultGrace}
	for at := 0; at < len(arguments); at++ {
		switch arguments[at] {
		case "--":
			options.Command = arguments[at+1:]
			return options, nil
		case "--ssh":
			options.SSH = true
		case "--grace":
			at++
			if at == len(arguments) {
				return options, errors.New("--grace wants a number of seconds")
			}
			seconds, err := strconv.ParseUint(arguments[at], 10, 31)
			if err != nil {
				return options, errors.New("--grace " + arguments[at] + " is no number of seconds")
			}
			options.Grace = time.Duration(seconds) * time.Second
		default:
			return options, errors.New("unknown argument " + arguments[at])
		}
	}
	return options, nil
}

// Main runs a server until SIGTERM or SIGINT, and returns its exit code.
func Main(options Options) int {
	ended, children := catchSignals()
	debug.SetGCPercent(gcPercent)
	syscall.Umask(0o022)
	prepare()

	server := &server{reaper: process.NewReaper(), output: &output.Buffer{}}
	if options.SSH {
		server.startSSH()
	}
	if len(options.Command) > 0 {
		server.startCommand(options.Command)
	}
	// A node's 96 processors would be 96 sets of caches.
	runtime.GOMAXPROCS(2)
	reserveThreads(reservedThreads)
	host := agent.Host{Processes: server.reaper, Output: server.output, Command: server.command, Grace: options.Grace}
	var service agent.Service
	if options.Service != nil {
		started, err := options.Service(host)
		if err != nil {
			message.Say("activity can't be measured", err)
		} else {
			service = started
		}
	}
	// What the start needed goes back to the system.
	time.AfterFunc(5*time.Second, debug.FreeOSMemory)

	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-ended:
			server.stop(options.Grace, service)
			return exitCode
		case <-children:
		case <-second.C:
		}
		server.reaper.Collect()
		if options.SSH {
			server.watchSSH()
		}
	}
}

// catchSignals takes over every signal: as the first process of a pod it ends by none of them, and a person may send
// any. The first channel gets SIGTERM and SIGINT, the second SIGCHLD. They are caught and not ignored, because an
// ignored signal stays ignored in every process that is started.
func catchSignals() (<-chan os.Signal, <-chan os.Signal) {
	signal.Notify(make(chan os.Signal))
	ended, children := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	signal.Notify(children, syscall.SIGCHLD)
	return ended, children
}

func reserveThreads(count int) {
	var started, done sync.WaitGroup
	release := make(chan struct{})
	for range count {
		started.Add(1)
		done.Add(1)
		go func() {
			defer done.Done()
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			started.Done()
			<-release
		}()
	}
	started.Wait()
	close(release)
	done.Wait()
}

func prepare() {
	path, set := os.LookupEnv("PATH")
	imageShell := shell.Of(path)
	err := environment.Store(paths.Environment, os.Environ())
	if err == nil {
		err = environment.StoreProfile(paths.Profile, path, set)
	}
	if err != nil {
		message.Say("the environment can't be written", err)
	}
	accountShell := imageShell
	if accountShell == "" {
		accountShell = paths.Login
	}
	if err := account.Store(paths.Keys+"/passwd", paths.Passwd, accountShell); err != nil {
		message.Say("/etc/passwd can't be written", err)
	}
	folders := home.Folders{Home: paths.Home, ImageSkel: "/etc/skel", OwnSkel: paths.Skel}
	if err := folders.Prepare(imageShell); err != nil {
		message.Say("the home did not get the files of /etc/skel", err)
	}
	_ = os.Remove(paths.CommandState)
}

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
		service.Stopping()
		ending = service.Ending()
	}
	// Twice: what follows may take until the container is killed.
	s.writeTermination(ending)
	hooks.Hooks{Home: paths.Home, Reaper: s.reaper}.Run(grace/2, ending.Reason)
	stop.Everything(s.reaper.Collect, grace-time.Since(began))
	if service != nil {
		ending = service.Ending()
	}
	s.writeTermination(ending)
}

func (s *server) writeTermination(ending agent.Ending) {
	writeTermination(paths.TerminationLog, termination(ending, s.output.Last(output.MaxLines, output.MaxBytes)))
}
