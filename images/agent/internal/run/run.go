// Package run is the first process of a dev server, in any image.
//
// It prepares account, environment and home, starts sshd and starts it again when it ends, starts the person's command,
// collects orphans, and stays when the command ends, so that a person can look at what happened. Another host
// certificate is taken over while sessions go on. SIGTERM runs the person's hooks and stops everything (package stop);
// what has not ended by then ends with the pod. No shell, no libc of the image, no right of any kind.
package run

import (
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"devservers.io/agent/internal/agent"
	"devservers.io/agent/internal/message"
	"devservers.io/agent/internal/output"
	"devservers.io/agent/internal/process"
)

const (
	// reservedThreads are made at the start: Go ends a program that can't make a thread, and a person's processes may
	// use up what the pod has of them.
	reservedThreads = 8
	gcPercent       = 25
	// exitCode is not 0: the kubelet takes a pod that it evicts and whose containers end well for one that is done, and
	// forgets why it evicted it (kubernetes, pkg/kubelet/kubelet_pods.go, generateAPIPodStatus).
	exitCode = 128 + int(syscall.SIGTERM)
)

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
