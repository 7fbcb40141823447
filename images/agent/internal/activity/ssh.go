package activity

import (
	"time"
)

// Connection is an established TCP connection of sshd.
type Connection struct {
	ID    string
	Bytes uint64 // received, and sent and acknowledged, since it began
}

// SSH is the traffic on each SSH connection, over a window that lets keep-alives and an editor's heartbeat pass.
//
// Invariant: connections aren't added up; many silent ones are as silent as a single one.
type SSH struct {
	List   func() ([]Connection, error)
	Window time.Duration

	histories map[string][]count
}

type count struct {
	at    time.Duration
	bytes uint64
}

// Sample is active when a connection carried more than the threshold in a window. The activity's time is that of the
// newest sample that has its share of it, so that a burst isn't counted on until it has left the window.
func (ssh *SSH) Sample(now time.Duration, thresholds Thresholds) (Reading, time.Duration, bool) {
	connections, err := ssh.List()
	if err != nil {
		return Unreadable, 0, false
	}
	most := float64(thresholds.SSHBytesPerMinute) * ssh.Window.Minutes()
	histories := make(map[string][]count, len(connections))
	var latest time.Duration
	active := false
	for _, connection := range connections {
		history := ssh.histories[connection.ID]
		if history == nil {
			// The login itself is activity.
			history = []count{{at: now}}
		}
		history = append(history, count{now, connection.Bytes})
		for len(history) > 2 && history[1].at <= now-ssh.Window {
			history = history[1:]
		}
		histories[connection.ID] = history
		if float64(carried(history[0], history[len(history)-1])) <= most {
			continue
		}
		for i := len(history) - 1; i > 0; i-- {
			share := most * float64(history[i].at-history[i-1].at) / float64(ssh.Window)
			if float64(carried(history[i-1], history[i])) > share {
				latest, active = max(latest, history[i].at), true
				break
			}
		}
	}
	ssh.histories = histories
	return Readable, latest, active
}

func carried(from, to count) uint64 {
	if to.bytes < from.bytes {
		return to.bytes // another connection with the same ends
	}
	return to.bytes - from.bytes
}
