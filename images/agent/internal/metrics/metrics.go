// Package metrics writes the agent's facts in Prometheus' text format.
package metrics

import (
	"bytes"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"time"

	"devservers.io/agent/internal/protocol"
)

// Facts are what the metrics show. What isn't known is left out, and is never 0.
type Facts struct {
	Version     string
	Idle        *time.Duration
	Since       map[string]time.Duration // by source
	Unreadable  []string
	PlannedStop *time.Duration // from now
	OOMKills    int64
	Volumes     []protocol.Volume
}

// Text is the answer to a request for metrics.
func Text(facts Facts) []byte {
	var out bytes.Buffer
	family := func(name, kind, help string) {
		out.WriteString("# HELP " + name + " " + help + "\n# TYPE " + name + " " + kind + "\n")
	}
	sample := func(name, labels string, value float64) {
		out.WriteString(name + labels + " " + strconv.FormatFloat(value, 'g', -1, 64) + "\n")
	}
	family("devserver_agent_build_info", "gauge", "Version of the agent; always 1.")
	sample("devserver_agent_build_info", label("version", facts.Version, "goversion", runtime.Version()), 1)
	if facts.Idle != nil {
		family("devserver_idle_seconds", "gauge", "Seconds since the last activity; absent when a source can't be read.")
		sample("devserver_idle_seconds", "", facts.Idle.Seconds())
	}
	if len(facts.Since) > 0 {
		family("devserver_activity_seconds", "gauge", "Seconds since the last activity of a source.")
		for _, source := range sorted(facts.Since) {
			sample("devserver_activity_seconds", label("source", source), facts.Since[source].Seconds())
		}
	}
	if len(facts.Unreadable) > 0 {
		family("devserver_source_unreadable", "gauge", "1 for each source of activity that can't be read.")
		for _, source := range facts.Unreadable {
			sample("devserver_source_unreadable", label("source", source), 1)
		}
	}
	if facts.PlannedStop != nil {
		family("devserver_planned_stop_seconds", "gauge", "Seconds until the planned stop; absent when none is planned.")
		sample("devserver_planned_stop_seconds", "", facts.PlannedStop.Seconds())
	}
	family("devserver_oom_kills_total", "counter", "Processes that were killed because the server was out of memory.")
	sample("devserver_oom_kills_total", "", float64(facts.OOMKills))
	if len(facts.Volumes) > 0 {
		family("devserver_volume_used_bytes", "gauge", "Bytes that are used in a volume.")
		for _, volume := range facts.Volumes {
			sample("devserver_volume_used_bytes", label("path", volume.Path), float64(volume.UsedBytes))
		}
	}
	sized := false
	for _, volume := range facts.Volumes {
		if volume.SizeBytes == nil {
			continue
		}
		if !sized {
			family("devserver_volume_size_bytes", "gauge", "Size of a volume that is a file system of its own.")
			sized = true
		}
		sample("devserver_volume_size_bytes", label("path", volume.Path), float64(*volume.SizeBytes))
	}
	return out.Bytes()
}

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func label(pairs ...string) string {
	var parts []string
	for i := 0; i < len(pairs); i += 2 {
		parts = append(parts, pairs[i]+`="`+escape.Replace(strings.ToValidUTF8(pairs[i+1], "?"))+`"`)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func sorted(values map[string]time.Duration) []string {
	var names []string
	for name := range values {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
