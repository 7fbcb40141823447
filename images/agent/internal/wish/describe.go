package wish

import (
	"errors"
	"fmt"
	"strings"

	"devservers.io/agent/internal/duration"
	"devservers.io/agent/internal/protocol"
	"devservers.io/agent/internal/warn"
)

func (client client) status() int {
	response, _, err := client.call(Request{Command: "status"}, false)
	if err != nil {
		return client.fail(exitNoAnswer, err)
	}
	if response.Error != "" || response.Status == nil {
		return client.fail(exitRefused, errors.New(response.Error))
	}
	for _, line := range describe(*response.Status) {
		fmt.Fprintln(client.out, line)
	}
	return exitOK
}

var names = map[string]string{
	protocol.Terminal: "terminal input", protocol.SSH: "SSH traffic", protocol.CPU: "processor time", protocol.GPU: "GPU",
	protocol.Run: "`devserver hold -- COMMAND`", protocol.Held: "a hold", protocol.Start: "the start", protocol.Unknown: "not known",
}

func describe(status Status) []string {
	line := func(name, format string, values ...any) string {
		return fmt.Sprintf("%-8s %s", name, fmt.Sprintf(format, values...))
	}
	var lines []string
	if status.Server == "" {
		lines = append(lines, line("server", "the operator has not sent a plan yet"))
	} else {
		lines = append(lines, line("server", "%s (planned %s ago)", status.Server, duration.Format(status.PlanAge)))
		switch {
		case status.StopInSeconds == nil:
			lines = append(lines, line("stop", "none is planned"))
		default:
			verb, when := "stops", "now"
			if status.Deletes {
				verb = "is deleted"
			}
			if *status.StopInSeconds > 0 {
				when = "in " + duration.Format(*status.StopInSeconds)
			}
			lines = append(lines, line("stop", "%s %s: %s", verb, when, warn.Phrase(status.StopReason)))
		}
	}
	idle := "not known, counts as active: " + strings.Join(status.Unreadable, ", ") + " can't be read"
	if status.IdleSeconds != nil {
		idle = fmt.Sprintf("%s, last activity: %s", duration.Format(*status.IdleSeconds), names[status.Source])
	}
	if status.Timeout != nil {
		idle += fmt.Sprintf("; stops when idle for %s", duration.Format(*status.Timeout))
	}
	lines = append(lines, line("idle", "%s", idle))
	if status.Hold != nil {
		hold := duration.Format(status.Hold.SecondsLeft) + " left"
		if status.Hold.Reason != "" {
			hold += ": " + status.Hold.Reason
		}
		lines = append(lines, line("hold", "%s", hold))
	}
	if status.Runs > 0 {
		lines = append(lines, line("runs", "%d", status.Runs))
	}
	if status.Limits != nil {
		lines = append(lines, line("limits", "can be extended %s, held %s", most("by", status.Limits.ExtendSeconds), most("for", status.Limits.HoldSeconds)))
	}
	for _, wish := range status.Waiting {
		text := wish.Kind
		if wish.Seconds > 0 {
			text += " " + duration.Format(wish.Seconds)
		}
		lines = append(lines, line("asked", "%s, waits for the operator", text))
	}
	return lines
}

// most is a limit of the platform: `by 2h`, or that there is none.
func most(word string, seconds int64) string {
	if seconds >= protocol.MaxSeconds {
		return "without a limit"
	}
	return word + " " + floor(seconds)
}
