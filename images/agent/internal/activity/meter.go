// Package activity measures since when nobody and nothing works in a server.
//
// Invariant: what can't be read counts as active; what the server doesn't have counts as nothing. Until the operator
// has sent its thresholds the server counts as active. Times are durations on a clock that only grows, so that a wrong
// or changed time of day changes no result.
package activity

import (
	"sync"
	"time"

	"devservers.io/agent/internal/protocol"
)

// Thresholds are what activity has to exceed. The operator sends them; the agent has none of its own.
type Thresholds struct {
	CPUMillicores     int64
	GPUPercent        int64
	SSHBytesPerMinute int64
}

// Reading is whether a source exists and could be read.
type Reading int

// Absent is a source that the server doesn't have, such as a GPU.
const (
	Absent Reading = iota
	Readable
	Unreadable
)

// Source is one thing that activity is measured by.
type Source interface {
	// Sample says when the source was last active, if it was since the sample before.
	Sample(now time.Duration, thresholds Thresholds) (reading Reading, at time.Duration, active bool)
}

// State is what was measured, in durations before now.
type State struct {
	Idle       *time.Duration           // nil when a source can't be read
	Source     string                   // of the last activity
	Since      map[string]time.Duration // since each source's last activity
	Unreadable []string
}

// Meter takes samples of all sources and keeps when each was last active.
type Meter struct {
	clock   func() time.Duration
	sources []named

	mutex      sync.Mutex
	thresholds *Thresholds // nil until the first plan
	last       map[string]time.Duration
	readings   map[string]Reading
}

type named struct {
	name   string
	source Source
}

// New makes a meter that counts from now: the start is the first activity.
func New(clock func() time.Duration, terminal, ssh, cpu, gpu Source) *Meter {
	return &Meter{
		clock:    clock,
		sources:  []named{{protocol.Terminal, terminal}, {protocol.SSH, ssh}, {protocol.CPU, cpu}, {protocol.GPU, gpu}},
		last:     map[string]time.Duration{protocol.Start: clock()},
		readings: map[string]Reading{},
	}
}

// SetThresholds takes over those of a plan.
func (meter *Meter) SetThresholds(thresholds Thresholds) {
	meter.mutex.Lock()
	defer meter.mutex.Unlock()
	meter.thresholds = &thresholds
}

// Sample reads each source once.
func (meter *Meter) Sample() {
	meter.mutex.Lock()
	var thresholds Thresholds
	if meter.thresholds != nil {
		thresholds = *meter.thresholds
	} else {
		meter.last[protocol.Start] = meter.clock()
	}
	meter.mutex.Unlock()
	for _, one := range meter.sources {
		now := meter.clock()
		reading, at, active := one.source.Sample(now, thresholds)
		meter.mutex.Lock()
		meter.readings[one.name] = reading
		if active {
			meter.last[one.name] = max(at, meter.last[one.name])
		}
		if reading == Unreadable {
			meter.last[protocol.Unknown] = now
		}
		meter.mutex.Unlock()
	}
}

// Mark notes activity of a run or a hold now.
func (meter *Meter) Mark(name string) {
	meter.mutex.Lock()
	defer meter.mutex.Unlock()
	meter.last[name] = meter.clock()
}

// State is what was measured up to the last sample.
func (meter *Meter) State() State {
	meter.mutex.Lock()
	defer meter.mutex.Unlock()
	now := meter.clock()
	state := State{Source: protocol.Start, Since: map[string]time.Duration{}}
	latest := meter.last[protocol.Start]
	for _, one := range meter.sources {
		if meter.readings[one.name] == Unreadable {
			state.Unreadable = append(state.Unreadable, one.name)
		}
		if at, was := meter.last[one.name]; was && meter.readings[one.name] != Absent {
			state.Since[one.name] = now - at
		}
	}
	for _, name := range order {
		if at, was := meter.last[name]; was && at > latest {
			latest, state.Source = at, name
		}
	}
	if len(state.Unreadable) > 0 {
		state.Source = protocol.Unknown
		return state
	}
	idle := now - latest
	state.Idle = &idle
	return state
}

// The first of two that were active at the same time is named.
var order = []string{
	protocol.Terminal, protocol.SSH, protocol.Run, protocol.Held, protocol.GPU, protocol.CPU, protocol.Unknown,
}
