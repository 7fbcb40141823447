// Package stop ends all processes of a server so that each gets SIGTERM before its terminal closes.
//
// SIGTERM goes to every program at once. What holds terminals (sshd, tmux, an editor's server) is told when the
// programs have gone or the time is over: a terminal that closes sends SIGHUP, which ends most programs before they
// have saved anything. A shell that waits for a program, or a line of several programs, is told as soon as the programs
// of its session have gone, so that it starts no further one.
package stop

import (
	"os"
	"strings"
	"syscall"
	"time"
)

const (
	// reserve is what is left of the pod's grace period when the programs' time is over.
	reserve   = 5 * time.Second
	terminals = 2 * time.Second
	tick      = 50 * time.Millisecond
)

type kind int

const (
	program kind = iota
	shell
	leader
	holder
)

// known is a process that was seen at the stop, and what it was then.
type known struct {
	kind kind
	told bool
}

// system is what the stop works on.
type system interface {
	list() []process
	isInteractiveShell(process) bool
	catchesTerm(pid int) bool
	holdsTerminals(pid int) bool
	kill(pid int, signal syscall.Signal)
	now() time.Time
	sleep(time.Duration)
}

// pod is the system that there is.
type pod struct {
	table
	collect func()
}

func (p pod) list() []process {
	p.collect()
	return p.table.list()
}
func (p pod) kill(pid int, signal syscall.Signal) { _ = syscall.Kill(pid, signal) }
func (p pod) now() time.Time                      { return time.Now() }
func (p pod) sleep(duration time.Duration)        { time.Sleep(duration) }

// Everything ends all processes but this one within a time, of which a part is kept for the terminals.
func Everything(collect func(), left time.Duration) {
	run(pod{table{"/proc", os.Getpid()}, collect}, left)
}

type stopping struct {
	system
	listed []process
	known  map[int]*known
}

func run(system system, left time.Duration) {
	s := &stopping{system: system, known: map[int]*known{}}
	began := s.now()
	s.listed = s.list()
	for _, one := range s.listed {
		if s.find(one).kind == program {
			s.tell(one, syscall.SIGTERM)
		}
	}
	// What a program starts while it ends is part of its ending: it is waited for and not told.
	for s.tellShells() && s.now().Sub(began) < max(left-reserve, left/2) {
		s.sleep(tick)
		s.listed = s.list()
	}
	began = s.now()
	for _, one := range s.listed {
		s.tell(one, signalFor(s.find(one).kind))
	}
	for s.listed = s.list(); len(s.listed) > 0 && s.now().Sub(began) < terminals; s.listed = s.list() {
		s.sleep(tick)
	}
}

// signalFor: interactive shells don't listen to SIGTERM.
func signalFor(kind kind) syscall.Signal {
	if kind == shell {
		return syscall.SIGHUP
	}
	return syscall.SIGTERM
}

// tellShells tells the shells whose programs have gone, and whether there are programs left.
func (s *stopping) tellShells() bool {
	left := false
	for _, one := range s.listed {
		known := s.find(one)
		left = left || known.kind == program
		if (known.kind == shell || known.kind == leader) && !known.told && !s.awaitedIn(one.session) {
			s.tell(one, signalFor(known.kind))
		}
	}
	return left
}

func (s *stopping) tell(one process, signal syscall.Signal) {
	s.find(one).told = true
	s.kill(one.pid, signal)
}

// awaitedIn tells whether a program of this session that was told is still there.
func (s *stopping) awaitedIn(session int) bool {
	for _, one := range s.listed {
		if one.session == session {
			if known := s.find(one); known.kind == program && known.told {
				return true
			}
		}
	}
	return false
}

func (s *stopping) find(one process) *known {
	if found := s.known[one.pid]; found != nil {
		return found
	}
	found := &known{kind: s.kindOf(one)}
	s.known[one.pid] = found
	return found
}

func (s *stopping) kindOf(one process) kind {
	switch {
	case strings.HasPrefix(one.name, "sshd") || s.holdsTerminals(one.pid):
		return holder
	case s.isInteractiveShell(one):
		return shell
	// Its end is the end of its terminal, so one that would just end comes after those it has started.
	case one.pid == one.session && one.terminal && !s.aloneInSession(one) && !s.catchesTerm(one.pid):
		return leader
	}
	return program
}

func (s *stopping) aloneInSession(one process) bool {
	for _, other := range s.listed {
		if other.session == one.session && other.pid != one.pid {
			return false
		}
	}
	return true
}
