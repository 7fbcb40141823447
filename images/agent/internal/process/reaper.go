// Package process starts processes and collects the exit status of every child of PID 1.
//
// The Reaper is the only caller of wait4: the first process of a pod inherits every orphan and has to wait for any
// child, so a second waiter would lose statuses to it. os/exec and os.Process wait by themselves and are not used.
package process

import (
	"os"
	"strings"
	"sync"
	"syscall"
)

// Spec describes a process to start.
type Spec struct {
	Argv []string
	// Env is the environment; nil is the agent's own.
	Env []string
	// Dir is the working directory; empty is the agent's own.
	Dir string
	// Stdin, Stdout and Stderr are the agent's own where they are nil. They must be blocking files.
	Stdin, Stdout, Stderr *os.File
}

// Process is a child of the agent, always the leader of a session of its own.
type Process struct {
	Pid    int
	done   chan struct{}
	status syscall.WaitStatus
	reaper *Reaper
}

// Done is closed when the process has ended and was collected.
func (p *Process) Done() <-chan struct{} { return p.done }

// Status is how it ended; only after Done is closed.
func (p *Process) Status() syscall.WaitStatus { return p.status }

// Signal sends a signal, and nothing to a process that was collected: its number may be another's by then.
func (p *Process) Signal(signal syscall.Signal) error { return p.kill(p.Pid, signal) }

// SignalGroup sends a signal to the process and to those of its group.
func (p *Process) SignalGroup(signal syscall.Signal) error { return p.kill(-p.Pid, signal) }

func (p *Process) kill(pid int, signal syscall.Signal) error {
	p.reaper.mutex.Lock()
	defer p.reaper.mutex.Unlock()
	select {
	case <-p.done:
		return syscall.ESRCH
	default:
		return syscall.Kill(pid, signal)
	}
}

// Reaper collects children.
type Reaper struct {
	mutex   sync.Mutex
	running map[int]*Process
}

// NewReaper returns a reaper; there is one in a program.
func NewReaper() *Reaper { return &Reaper{running: map[int]*Process{}} }

// Start starts a process. The program is looked for as execvp does: in PATH of the agent, and as a script of /bin/sh
// where the kernel does not know its format.
func (r *Reaper) Start(spec Spec) (*Process, error) {
	if len(spec.Argv) == 0 || spec.Argv[0] == "" {
		return nil, syscall.ENOENT
	}
	attributes := &syscall.ProcAttr{Dir: spec.Dir, Env: spec.Env, Sys: &syscall.SysProcAttr{Setsid: true}}
	if attributes.Env == nil {
		attributes.Env = os.Environ()
	}
	for number, file := range []*os.File{spec.Stdin, spec.Stdout, spec.Stderr} {
		if file == nil {
			attributes.Files = append(attributes.Files, uintptr(number))
		} else {
			attributes.Files = append(attributes.Files, file.Fd())
		}
	}
	// Held over the fork: a child that ends at once is collected after it is known. ForkExec itself waits for a child
	// whose exec failed.
	r.mutex.Lock()
	defer r.mutex.Unlock()
	pid, err := forkAny(spec.Argv, attributes)
	if err != nil {
		return nil, err
	}
	process := &Process{Pid: pid, done: make(chan struct{}), reaper: r}
	r.running[pid] = process
	return process, nil
}

// forkAny tries the places where the program may be, as glibc's execvp does.
func forkAny(argv []string, attributes *syscall.ProcAttr) (int, error) {
	denied := false
	for _, path := range candidates(argv[0]) {
		pid, err := syscall.ForkExec(path, argv, attributes)
		if err == syscall.ENOEXEC {
			pid, err = syscall.ForkExec("/bin/sh", append([]string{"sh", path}, argv[1:]...), attributes)
		}
		switch err {
		case syscall.EACCES:
			denied = true
		case syscall.ENOENT, syscall.ENOTDIR, syscall.ESTALE, syscall.ENODEV, syscall.ETIMEDOUT:
		default:
			return pid, err
		}
	}
	if denied {
		return 0, syscall.EACCES
	}
	return 0, syscall.ENOENT
}

func candidates(name string) []string {
	if strings.Contains(name, "/") {
		return []string{name}
	}
	path, set := os.LookupEnv("PATH")
	if !set {
		path = "/bin:/usr/bin"
	}
	var found []string
	for _, folder := range strings.Split(path, ":") {
		if folder == "" {
			folder = "."
		}
		found = append(found, folder+"/"+name)
	}
	return found
}

// Collect takes the status of every child that has ended, orphans included.
func (r *Reaper) Collect() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if process := r.running[pid]; process != nil {
			delete(r.running, pid)
			process.status = status
			close(process.done)
		}
	}
}
