// Package lifecycle runs what measures a server, warns in it, and answers its operator.
//
// Invariant: nothing here ends or delays PID 1. What can't start is said, and the server goes on without it.
package lifecycle

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"devservers.io/agent/internal/activity"
	"devservers.io/agent/internal/cgroup"
	"devservers.io/agent/internal/disk"
	"devservers.io/agent/internal/exchange"
	"devservers.io/agent/internal/metrics"
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
	maxGPUOutput    = 16 * 1024
)

// Options are what the service needs of the first process, and where it finds and puts things.
type Options struct {
	PodUID  string
	Home    string
	Volumes []string // mount paths that are measured
	// Interval is between two samples of activity; every other time is scaled with it. 0 is ten seconds.
	Interval time.Duration

	Root     string // "/" but in tests
	RunPath  string // /run/devservers
	KeyFile  string
	SetupDir string
	Address  string // of the exchanges

	// Run runs a program to its end or the context's, and returns its exit code.
	Run func(ctx context.Context, program setup.Program) (int, error)
	// Lines are the last lines of output; Command is what became of the person's command, nil while it runs.
	Lines   func() []string
	Command func() *protocol.Command
	Say     func(text string, err error)
	Go      func(name string, run func())
}

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

// Paths splits the mount paths of DEVSERVERS_VOLUMES, one a line; without any it is the home alone.
func Paths(text, home string) []string {
	var paths []string
	for path := range strings.Lines(text) {
		if path = strings.TrimRight(path, "\n"); strings.HasPrefix(path, "/") && len(paths) < protocol.MaxVolumes {
			paths = append(paths, path)
		}
	}
	if len(paths) == 0 {
		paths = []string{home}
	}
	return paths
}

// Interval is the time of DEVSERVERS_SAMPLE_SECONDS, 0 where it is not a number of seconds.
func Interval(text string) time.Duration {
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || seconds < 0.1 || seconds > 60 || math.IsNaN(seconds) {
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
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

// ownTime is the processor time of this process.
func ownTime() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// output runs a program for its output.
func (service *Service) output(ctx context.Context, argv ...string) ([]byte, error) {
	var out bounded
	code, err := service.options.Run(ctx, setup.Program{Argv: argv, Env: os.Environ(), Dir: "/", Output: &out})
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d", code)
	}
	out.mutex.Lock()
	defer out.mutex.Unlock()
	return out.text.Bytes(), err
}

type bounded struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (out *bounded) Write(text []byte) (int, error) {
	out.mutex.Lock()
	defer out.mutex.Unlock()
	out.text.Write(text[:min(len(text), maxGPUOutput-out.text.Len())])
	return len(text), nil
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
		return wish.Listen(filepath.Join(service.options.RunPath, filepath.Base(wish.Socket)))
	}, service.wishes.Serve)
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
	if service.wishes.Runs() > 0 {
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

// Handle takes over a plan and is the report on it.
func (service *Service) Handle(plan *protocol.Plan) protocol.Report {
	service.mutex.Lock()
	if !service.stopping(plan) {
		service.plan, service.planned, service.announced = plan, service.clock(), false
	}
	service.mutex.Unlock()
	service.meter.SetThresholds(activity.Thresholds{
		CPUMillicores: plan.Idle.CPUMillicores, GPUPercent: plan.Idle.GPUPercent, SSHBytesPerMinute: plan.Idle.SSHBytesPerMinute,
	})
	service.queue.Answered(plan.Answers)
	select {
	case service.changed <- struct{}{}:
	default: // one is on its way already
	}
	service.mark()
	state := service.meter.State()
	report := protocol.Report{
		Source: state.Source, Unreadable: state.Unreadable, Wishes: service.queue.Waiting(), OOMKills: service.group.OOMKills(),
		Volumes: service.usage.Volumes(), Command: service.options.Command(), Setup: service.setup.Steps(),
		IdleSeconds: seconds(state.Idle),
		Signals: protocol.Signals{
			Terminal: since(state, protocol.Terminal), SSH: since(state, protocol.SSH),
			CPU: since(state, protocol.CPU), GPU: since(state, protocol.GPU),
		},
	}
	if plan.Final {
		report.Lines = service.options.Lines()
	}
	return report
}

// stopping is whether the last plan was the final one, and the stop that it announced is still under way: another plan
// that was sent meanwhile doesn't take it back.
func (service *Service) stopping(plan *protocol.Plan) bool {
	if plan.Final || service.plan == nil || !service.plan.Final || service.plan.Stop == nil {
		return false
	}
	grace := time.Duration(service.plan.Stop.GracePeriodSeconds) * time.Second
	return service.clock()-service.planned < max(grace, leastStopping)
}

func since(state activity.State, source string) *int64 {
	if value, known := state.Since[source]; known {
		return seconds(&value)
	}
	return nil
}

func seconds(value *time.Duration) *int64 {
	if value == nil {
		return nil
	}
	whole := min(protocol.MaxSeconds, max(0, int64(*value/time.Second)))
	return &whole
}

func (service *Service) metrics() []byte {
	state := service.meter.State()
	facts := metrics.Facts{
		Version: Version, Idle: state.Idle, Since: state.Since, Unreadable: state.Unreadable,
		OOMKills: service.group.OOMKills(), Volumes: service.usage.Volumes(),
	}
	if stop, left := service.announcer.Planned(); stop != nil {
		facts.PlannedStop = &left
	}
	return metrics.Text(facts)
}

// status is what the command devserver prints; the wishes and runs are added by its service.
func (service *Service) status() wish.Status {
	state := service.meter.State()
	status := wish.Status{
		IdleSeconds: seconds(state.Idle), Source: state.Source, Unreadable: state.Unreadable, Hold: service.hold(),
	}
	service.mutex.Lock()
	plan, age := service.plan, service.clock()-service.planned
	service.mutex.Unlock()
	if plan == nil {
		return status
	}
	limits := plan.Limits
	status.Server, status.PlanAge, status.Timeout, status.Limits = plan.Server, int64(age/time.Second), plan.Idle.TimeoutSeconds, &limits
	if plan.Stop != nil {
		left := plan.Stop.InSeconds - status.PlanAge
		if plan.Final {
			left = 0
		}
		status.StopInSeconds, status.StopReason, status.Deletes = &left, plan.Stop.Reason, plan.Stop.Deletes
	}
	return status
}

// Stopping shows in every terminal that the server stops now, and why.
func (service *Service) Stopping() {
	service.warn()
	service.announcer.Stopping()
}

// Ending is the reason of the stop that the last plan announced as due, "" for any other, and the OOM kills.
func (service *Service) Ending() (string, int64) {
	reason := ""
	if stop, left := service.announcer.Planned(); stop != nil && left <= 0 {
		reason = stop.Reason
	}
	return reason, service.group.OOMKills()
}
