package metrics

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"devservers.io/agent/internal/protocol"
)

func TestTextOfAllFacts(t *testing.T) {
	idle, stop, size := 90*time.Second, 25*time.Minute, int64(20<<30)
	got := string(Text(Facts{
		Version: "0.1.0", Idle: &idle, Since: map[string]time.Duration{"ssh": 90 * time.Second, "cpu": time.Hour},
		PlannedStop: &stop, OOMKills: 2, Unreadable: []string{"gpu"},
		Volumes: []protocol.Volume{{Path: "/home/dev", UsedBytes: 1 << 30, SizeBytes: &size}, {Path: "/a\"b\\c", UsedBytes: 5}},
	}))
	want := `# HELP devserver_agent_build_info Version of the agent; always 1.
# TYPE devserver_agent_build_info gauge
devserver_agent_build_info{version="0.1.0",goversion="` + runtime.Version() + `"} 1
# HELP devserver_idle_seconds Seconds since the last activity; absent when a source can't be read.
# TYPE devserver_idle_seconds gauge
devserver_idle_seconds 90
# HELP devserver_activity_seconds Seconds since the last activity of a source.
# TYPE devserver_activity_seconds gauge
devserver_activity_seconds{source="cpu"} 3600
devserver_activity_seconds{source="ssh"} 90
# HELP devserver_source_unreadable 1 for each source of activity that can't be read.
# TYPE devserver_source_unreadable gauge
devserver_source_unreadable{source="gpu"} 1
# HELP devserver_planned_stop_seconds Seconds until the planned stop; absent when none is planned.
# TYPE devserver_planned_stop_seconds gauge
devserver_planned_stop_seconds 1500
# HELP devserver_oom_kills_total Processes that were killed because the server was out of memory.
# TYPE devserver_oom_kills_total counter
devserver_oom_kills_total 2
# HELP devserver_volume_used_bytes Bytes that are used in a volume.
# TYPE devserver_volume_used_bytes gauge
devserver_volume_used_bytes{path="/home/dev"} 1.073741824e+09
devserver_volume_used_bytes{path="/a\"b\\c"} 5
# HELP devserver_volume_size_bytes Size of a volume that is a file system of its own.
# TYPE devserver_volume_size_bytes gauge
devserver_volume_size_bytes{path="/home/dev"} 2.147483648e+10
`
	if got != want {
		t.Error(got)
	}
}

func TestTextLeavesOutWhatIsNotKnown(t *testing.T) {
	got := string(Text(Facts{}))
	for _, name := range []string{"idle", "activity", "planned", "volume", "unreadable"} {
		if strings.Contains(got, name) {
			t.Error(got)
		}
	}
	if !strings.Contains(got, "devserver_oom_kills_total 0\n") {
		t.Error(got)
	}
}
