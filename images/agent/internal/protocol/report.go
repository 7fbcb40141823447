package protocol

import (
	"bytes"
	"encoding/json"
)

// Names of what activity is measured by, and of what the last activity may have been.
const (
	Terminal = "terminal"
	SSH      = "ssh"
	CPU      = "cpu"
	GPU      = "gpu"
	Run      = "run"
	Held     = "hold"
	Start    = "start"
	Unknown  = "unknown"
)

// Kinds of wishes.
const (
	Extend      = "extend"
	HoldWish    = "hold"
	ReleaseWish = "release"
)

// Signals are the seconds since the last activity of each source; nil where there was none yet or there is no such source.
type Signals struct {
	Terminal *int64 `json:"terminal"`
	SSH      *int64 `json:"ssh"`
	CPU      *int64 `json:"cpu"`
	GPU      *int64 `json:"gpu"`
}

// Wish is what somebody in the server asked for.
type Wish struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	Seconds int64  `json:"seconds"`
	Reason  string `json:"reason"`
}

// Volume says how full a volume is.
type Volume struct {
	Path      string `json:"path"`
	UsedBytes int64  `json:"usedBytes"`
	SizeBytes *int64 `json:"sizeBytes"` // nil where the volume is a folder of a larger file system
	How       string `json:"how"`       // statfs or du
}

// Command is what became of the server's command.
type Command struct {
	ExitCode *int  `json:"exitCode,omitempty"`
	Signal   *int  `json:"signal,omitempty"`
	At       int64 `json:"at"` // seconds ago
}

// Step is one step of the person's set-up.
type Step struct {
	Step     string `json:"step"`
	ExitCode int    `json:"exitCode"`
	Seconds  int64  `json:"seconds"`
}

// RunState is what is kept of a run after the server was stopped.
type RunState struct {
	Name       string `json:"name"`
	State      string `json:"state"`
	ExitCode   int    `json:"exitCode"`
	Canceled   bool   `json:"canceled"`
	StartedAgo int64  `json:"startedAgo"` // seconds
	Seconds    int64  `json:"seconds"`    // that it took, or has taken so far
}

// Report is the answer to a plan.
type Report struct {
	Version     int      `json:"version"`
	PodUID      string   `json:"podUid"`
	Counter     int64    `json:"counter"`
	IdleSeconds *int64   `json:"idleSeconds"` // nil when a source can't be read
	Source      string   `json:"source"`
	Signals     Signals  `json:"signals"`
	Unreadable  []string `json:"unreadable"`
	Wishes      []Wish   `json:"wishes"`
	OOMKills    int64    `json:"oomKills"`
	Volumes     []Volume `json:"volumes"`
	Command     *Command `json:"command"`
	Setup       []Step   `json:"setup"`
	// Runs are the last ones, the newest first, in the answer to a final plan.
	Runs  []RunState `json:"runs"`
	Lines []string   `json:"lines"`
}

// Encode is the report as JSON of at most MaxBytes: the oldest lines of output and the last volumes give way.
func (report Report) Encode() ([]byte, error) {
	report.Version = Version
	for _, empty := range []*[]string{&report.Unreadable, &report.Lines} {
		if *empty == nil {
			*empty = []string{}
		}
	}
	report.Wishes = append([]Wish{}, report.Wishes[:min(len(report.Wishes), MaxWishes)]...)
	report.Volumes = append([]Volume{}, report.Volumes[:min(len(report.Volumes), MaxVolumes)]...)
	report.Setup = append([]Step{}, report.Setup[:min(len(report.Setup), MaxSetupSteps)]...)
	report.Runs = append([]RunState{}, report.Runs[:min(len(report.Runs), MaxRuns)]...)
	lines := report.Lines[max(0, len(report.Lines)-MaxLines):]
	report.Lines = []string{}
	body, err := encode(report)
	for err == nil && len(body) > MaxBytes && len(report.Volumes) > 0 {
		report.Volumes = report.Volumes[:len(report.Volumes)-1]
		body, err = encode(report)
	}
	if err != nil {
		return nil, err
	}
	room := MaxBytes - len(body)
	first := len(lines)
	for first > 0 {
		line, err := encode(lines[first-1])
		if err != nil {
			return nil, err
		}
		if room -= len(line) + 1; room < 0 {
			break
		}
		first--
	}
	report.Lines = append(report.Lines, lines[first:]...)
	return encode(report)
}

func encode(value any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimRight(out.Bytes(), "\n"), nil
}
