// Package lifecycle runs what measures a server, warns in it, and answers its operator.
//
// Invariant: nothing here ends or delays PID 1. What can't start is said, and the server goes on without it.
package lifecycle

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"devservers.io/agent/internal/activity"
	"devservers.io/agent/internal/cgroup"
	"devservers.io/agent/internal/disk"
	"devservers.io/agent/internal/exchange"
	"devservers.io/agent/internal/local"
	"devservers.io/agent/internal/paths"
	"devservers.io/agent/internal/protocol"
	"devservers.io/agent/internal/setup"
	"devservers.io/agent/internal/warn"
	"devservers.io/agent/internal/wish"
)

// Version is the project's (core/devservers_core/version.py).
const Version = "0.1.0"

const (
	defaultInterval = 10 * time.Second
	window          = time.Minute
	warnInterval    = 5 * time.Second
	diskInterval    = time.Minute
	listenRetry     = 5 * time.Second
	sshPort         = 2222
	leastStopping   = 30 * time.Second // between the final plan and the end of a server with a short grace period
	// reasonWait is how long an end that no plan announced waits for the operator to say why: it sees the pod's deletion
	// when the node does.
	reasonWait = 2 * time.Second
	reasonTick = 20 * time.Millisecond
)

// Service is all of it while it runs.
type Service struct {
	options   Options
	clock     func() time.Duration
	meter     *activity.Meter
	announcer *warn.Announcer
	queue     *wish.Queue
	wishes    *wish.Service
	usage     *disk.Usage
	setup     *setup.Setup
	group     cgroup.Group
	changed   chan struct{} // a plan came

	mutex     sync.Mutex
	plan      *protocol.Plan
	planned   time.Duration // when it came
	announced bool
}

// New puts the parts together and starts none.
func New(options Options) *Service {
	if options.Interval == 0 {
		options.Interval = defaultInterval
	}
	began := time.Now()
	service := &Service{options: options, changed: make(chan struct{}, 1), queue: &wish.Queue{}}
	service.clock = func() time.Duration { return time.Since(began) } // monotonic
	service.group = cgroup.Group{Root: options.Root}
	service.meter = activity.New(service.clock,
		&activity.Terminals{Root: options.Root},
		&activity.SSH{List: activity.ListConnections(sshPort), Window: service.scaled(window)},
		&activity.CPU{Root: options.Root, Self: ownTime},
		&activity.GPU{Root: options.Root, Run: service.output},
	)
	service.announcer = &warn.Announcer{
		Clock: service.clock, Terminals: func() []warn.Terminal { return warn.Terminals(options.Root) },
		Motd: filepath.Join(options.RunPath, "motd"),
	}
	service.wishes = &wish.Service{Queue: service.queue, Clock: service.clock, Status: service.status}
	service.usage = &disk.Usage{Paths: options.Volumes, Clock: service.clock}
	service.setup = &setup.Setup{Folder: options.SetupDir, Home: options.Home, Env: os.Environ(), Run: options.Run}
	return service
}

// scaled is a time that shrinks with the sampling interval.
func (service *Service) scaled(time_ time.Duration) time.Duration {
	return time.Duration(float64(time_) * float64(service.options.Interval) / float64(defaultInterval))
}

// Start begins everything; it ends with the process or, but for open connections, with the context.
func (service *Service) Start(ctx context.Context) {
	if service.options.PodUID == "" {
		service.options.Say("DEVSERVERS_POD_UID is not set, so every plan of the operator is refused", nil)
	}
	every := func(name string, interval time.Duration, poke <-chan struct{}, run func()) {
		service.options.Go(name, func() {
			ticker := time.NewTicker(interval)
			defer ticker.Stop()
			for {
				run()
				select {
				case <-ctx.Done():
					return
				case <-ticker.C:
				case <-poke:
				}
			}
		})
	}
	every("measuring activity", service.options.Interval, nil, service.sample)
	every("warning of a stop", service.scaled(warnInterval), service.changed, service.warn)
	every("measuring volumes", diskInterval, nil, service.usage.Measure)
	service.options.Go("the set-up", func() { service.setup.Apply(ctx) })
	service.listen(ctx, "the exchange with the operator", func() (net.Listener, error) {
		return net.Listen("tcp", service.options.Address)
	}, (&exchange.Server{
		PodUID: service.options.PodUID, KeyFile: service.options.KeyFile,
		CounterFile: filepath.Join(service.options.RunPath, "agent-counter"),
		Handle:      service.Handle, Metrics: service.metrics,
	}).Serve)
	service.listen(ctx, "the command devserver", func() (net.Listener, error) {
		return local.Listen(filepath.Join(service.options.RunPath, filepath.Base(paths.AgentSocket)))
	}, service.wishes.Serve)
	// It reads the home, which may hang; nothing else waits for that.
	recovered := sync.OnceFunc(service.options.Runs.Recover)
	service.listen(ctx, "the command devserver run", func() (net.Listener, error) {
		recovered()
		return local.Listen(filepath.Join(service.options.RunPath, filepath.Base(paths.RunsSocket)))
	}, service.options.Runs.Serve)
}

// listen serves on a listener, and opens another one when it fails.
func (service *Service) listen(ctx context.Context, name string, open func() (net.Listener, error), serve func(net.Listener) error) {
	service.options.Go(name, func() {
		said := ""
		for ctx.Err() == nil {
			listener, err := open()
			if err == nil {
				stop := context.AfterFunc(ctx, func() { listener.Close() })
				err = serve(listener)
				stop()
				listener.Close()
			}
			if ctx.Err() == nil && err != nil && err.Error() != said {
				said = err.Error()
				service.options.Say(name+" can't be served", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(listenRetry):
			}
		}
	})
}

func (service *Service) sample() {
	service.mark()
	service.meter.Sample()
}

// mark notes the hold and the runs in force as activity.
func (service *Service) mark() {
	if service.wishes.Runs()+service.options.Runs.Running() > 0 {
		service.meter.Mark(protocol.Run)
	}
	if hold := service.hold(); hold != nil {
		service.meter.Mark(protocol.Held)
	}
}

// hold is the hold in force by the last plan, with the time that is left of it now.
func (service *Service) hold() *protocol.Hold {
	service.mutex.Lock()
	defer service.mutex.Unlock()
	if service.plan == nil || service.plan.Hold == nil {
		return nil
	}
	left := service.plan.Hold.SecondsLeft - int64((service.clock()-service.planned)/time.Second)
	if left <= 0 {
		return nil
	}
	return &protocol.Hold{SecondsLeft: left, Reason: service.plan.Hold.Reason}
}

func (service *Service) warn() {
	service.mutex.Lock()
	plan, announced := service.plan, service.announced
	service.announced = true
	service.mutex.Unlock()
	if plan != nil && !announced {
		service.announcer.Plan(plan.Stop, plan.Final, plan.Limits)
	} else {
		service.announcer.Tick()
	}
}

// Stopping shows in every terminal that the server stops now, and why. Where no plan announced it, it waits for one that
// does, for a tenth of the grace period and 2 seconds at most, if there ever was a plan.
func (service *Service) Stopping(grace time.Duration) {
	service.options.Runs.Stopping()
	service.warn()
	limit := service.clock() + min(reasonWait, grace/10)
	for service.planExists() && !service.due() && service.clock() < limit {
		time.Sleep(reasonTick)
		service.warn()
	}
	service.announcer.Stopping()
}

func (service *Service) planExists() bool {
	service.mutex.Lock()
	defer service.mutex.Unlock()
	return service.plan != nil
}

// due is whether the last plan announced a stop for now.
func (service *Service) due() bool {
	stop, left := service.announcer.Planned()
	return stop != nil && left <= 0
}

// Ending is the reason of the stop that the last plan announced as due, "" for any other, and the OOM kills.
func (service *Service) Ending() (string, int64) {
	reason := ""
	if stop, left := service.announcer.Planned(); stop != nil && left <= 0 {
		reason = stop.Reason
	}
	return reason, service.group.OOMKills()
}
