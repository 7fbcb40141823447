package lifecycle

import (
	"time"

	"devservers.io/agent/internal/activity"
	"devservers.io/agent/internal/metrics"
	"devservers.io/agent/internal/protocol"
	"devservers.io/agent/internal/runs"
	"devservers.io/agent/internal/wish"
)

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
		report.Runs = runStates(service.options.Runs.Recent(), service.options.Runs.Now())
	}
	return report
}

// runStates are runs as the operator keeps them, with durations in place of times.
func runStates(records []runs.Record, now time.Time) []protocol.RunState {
	var states []protocol.RunState
	for _, record := range records {
		ended := record.Ended
		if record.State == runs.Running {
			ended = now
		}
		ago, took := now.Sub(record.Started), ended.Sub(record.Started)
		states = append(states, protocol.RunState{
			Name: record.Name, State: record.State, ExitCode: record.ExitCode, Canceled: record.Canceled,
			StartedAgo: *seconds(&ago), Seconds: *seconds(&took),
		})
	}
	return states
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
