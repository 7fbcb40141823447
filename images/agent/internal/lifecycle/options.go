package lifecycle

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"

	"devservers.io/agent/internal/protocol"
	"devservers.io/agent/internal/runs"
	"devservers.io/agent/internal/setup"
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
	// Runs are the person's named commands.
	Runs *runs.Registry
	// Lines are the last lines of output; Command is what became of the person's command, nil while it runs.
	Lines   func() []string
	Command func() *protocol.Command
	Say     func(text string, err error)
	Go      func(name string, run func())
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
