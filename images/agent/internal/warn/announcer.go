// Package warn announces a planned stop in the terminals and in the message of the day.
//
// Invariant: no terminal is waited for, and a stage of a stop is announced once.
package warn

import (
	"fmt"
	"os"
	"sync"
	"time"

	"devservers.io/agent/internal/duration"
	"devservers.io/agent/internal/protocol"
)

// later is how much later a stop has to be to be another one: plans arrive at any time within a second or two.
const later = 30 * time.Second

// remedyMinutes is how much more time a warning tells a person to ask for, where the limits allow as much.
const remedyMinutes = 60

var stages = []time.Duration{0, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute}

// Announcer counts down to the planned stop between two plans.
type Announcer struct {
	Clock     func() time.Duration
	Terminals func() []Terminal
	Motd      string // a file's path

	mutex   sync.Mutex
	stop    *protocol.Stop
	due     time.Duration
	armed   time.Duration    // the earliest that it was due since the stages began anew
	most    map[string]int64 // seconds that `devserver extend` and `devserver hold` may ask for
	stage   time.Duration    // the smallest that was announced for this stop; -1 for none
	warned  bool
	pending map[string]bool // terminals that could not take it yet
	text    string
	motd    string
	ended   bool
}

// Plan takes over the stop of a plan; nil for none.
func (announcer *Announcer) Plan(stop *protocol.Stop, final bool, limits protocol.Limits) {
	announcer.mutex.Lock()
	announcer.most = map[string]int64{"extend": limits.ExtendSeconds, "hold": limits.HoldSeconds}
	if stop == nil {
		if announcer.stop != nil && announcer.warned {
			announcer.show("devserver: the planned stop is called off")
		}
		announcer.stop, announcer.warned = nil, false
	} else {
		due := announcer.Clock() + time.Duration(stop.InSeconds)*time.Second
		if final {
			due = min(due, announcer.Clock())
		}
		if announcer.stop == nil || due > announcer.armed+later {
			announcer.stage, announcer.ended, announcer.armed = -1, false, due
		}
		announcer.armed = min(announcer.armed, due)
		copied := *stop
		announcer.stop, announcer.due = &copied, due
	}
	announcer.mutex.Unlock()
	announcer.Tick()
}

// Tick announces what is due. It is called every few seconds.
func (announcer *Announcer) Tick() {
	announcer.mutex.Lock()
	defer announcer.mutex.Unlock()
	if announcer.stop == nil {
		announcer.retry()
		announcer.writeMotd("")
		return
	}
	left := announcer.due - announcer.Clock()
	rounded := left
	if left > 2*time.Hour {
		rounded = (left + 15*time.Minute - 1).Truncate(15 * time.Minute) // so that the file seldom changes
	}
	announcer.writeMotd(announcer.line(rounded) + "\n")
	for _, stage := range stages {
		if left > stage {
			continue
		}
		if announcer.stage < 0 || stage < announcer.stage {
			announcer.stage, announcer.warned = stage, true
			announcer.ended = announcer.ended || stage == 0
			announcer.show(announcer.line(left))
			return
		}
		break
	}
	announcer.retry()
}

// Stopping shows that the server stops now, and why if the last plan said so.
func (announcer *Announcer) Stopping() {
	announcer.mutex.Lock()
	defer announcer.mutex.Unlock()
	if announcer.stop != nil && announcer.due <= announcer.Clock() {
		if !announcer.ended {
			announcer.show(announcer.line(0))
		}
	} else {
		announcer.show("devserver: this server stops now")
	}
	announcer.ended = true
}

// Planned is the stop in force and the time left; nil for none.
func (announcer *Announcer) Planned() (*protocol.Stop, time.Duration) {
	announcer.mutex.Lock()
	defer announcer.mutex.Unlock()
	if announcer.stop == nil {
		return nil, 0
	}
	copied := *announcer.stop
	return &copied, announcer.due - announcer.Clock()
}

func (announcer *Announcer) line(left time.Duration) string {
	verb := "stops"
	if announcer.stop.Deletes {
		verb = "is deleted"
	} else if announcer.stop.Reason == restarted {
		verb = "restarts"
	}
	when, remedy := "now", ""
	if left > 0 {
		when = "in " + duration.Format(int64((left+time.Second-1)/time.Second))
		command := remedies[announcer.stop.Reason]
		if minutes := min(remedyMinutes, announcer.most[command]/60); minutes > 0 {
			remedy = fmt.Sprintf("; `devserver %s %s` keeps it", command, duration.Format(minutes*60))
		}
	}
	return fmt.Sprintf("devserver: this server %s %s: %s%s", verb, when, Phrase(announcer.stop.Reason), remedy)
}

// show writes the text to every terminal, and remembers those that can't take it now.
func (announcer *Announcer) show(text string) {
	announcer.text, announcer.pending = text, map[string]bool{}
	for _, terminal := range announcer.Terminals() {
		if terminal.Write(text) != nil {
			announcer.pending[terminal.Path] = true
		}
	}
}

// retry writes the last text to the terminals that were stopped. The time in it may be a few minutes old.
func (announcer *Announcer) retry() {
	if len(announcer.pending) == 0 {
		return
	}
	text := announcer.text
	if announcer.stop != nil {
		text = announcer.line(announcer.due - announcer.Clock())
	}
	still := map[string]bool{}
	for _, terminal := range announcer.Terminals() {
		if announcer.pending[terminal.Path] && terminal.Write(text) != nil {
			still[terminal.Path] = true
		}
	}
	announcer.pending = still
}

// writeMotd replaces the message of the day whole, when it has changed.
func (announcer *Announcer) writeMotd(text string) {
	if text == announcer.motd || announcer.Motd == "" {
		return
	}
	if text == "" {
		if err := os.Remove(announcer.Motd); err == nil || os.IsNotExist(err) {
			announcer.motd = text
		}
		return
	}
	if os.WriteFile(announcer.Motd+".new", []byte(text), 0o644) == nil &&
		os.Rename(announcer.Motd+".new", announcer.Motd) == nil {
		announcer.motd = text
	}
}

// Of the operator's closed set of reasons (core's names.STOP_REASONS).
var phrases = map[string]string{
	"user": "you asked for it", "expired": "its time is over", "idle": "it is idle", "holdEnded": "its hold has ended",
	"workingHours": "working hours are over", "preempted": "its capacity is needed", "nodeLost": "its node is lost",
	"outOfMemory": "it is out of memory", "evictedForDisk": "its disk is full", "suspended": "your access is suspended",
	"budget": "the budget is used up", "clusterDrained": "the cluster is being drained",
	restarted: "you asked for it",
}

// restarted is the reason of a pod that a restart or an update replaces (core's names.RESTARTED).
const restarted = "restarted"

var remedies = map[string]string{"expired": "extend", "idle": "hold", "holdEnded": "hold", "workingHours": "hold"}

// Phrase is a reason as a person reads it.
func Phrase(reason string) string {
	if phrase, known := phrases[reason]; known {
		return phrase
	}
	return reason
}
