package cgroup

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func write(t *testing.T, root, name, text string) {
	path := filepath.Join(root, "sys/fs/cgroup", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// As kernel 6.12 wrote them in a pod with control groups of version 2.
const cpuStat = `usage_usec 81236451
user_usec 61236451
system_usec 20000000
nice_usec 0
core_sched.force_idle_usec 0
nr_periods 120
nr_throttled 3
throttled_usec 4100
nr_bursts 0
burst_usec 0
`
const memoryEvents = "low 0\nhigh 0\nmax 41\noom 2\noom_kill 2\noom_group_kill 0\n"

func TestCountsOfVersion2(t *testing.T) {
	root := t.TempDir()
	write(t, root, "cpu.stat", cpuStat)
	write(t, root, "memory.events", memoryEvents)
	used, err := Group{root}.CPU()
	if err != nil || used != 81236451*time.Microsecond {
		t.Error(used, err)
	}
	if kills := (Group{root}).OOMKills(); kills != 2 {
		t.Error(kills)
	}
}

func TestCountsOfVersion1(t *testing.T) {
	for _, folder := range []string{"cpuacct", "cpu,cpuacct"} {
		root := t.TempDir()
		write(t, root, folder+"/cpuacct.usage", "81236451123\n")
		write(t, root, "memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n")
		used, err := Group{root}.CPU()
		if err != nil || used != 81236451123 {
			t.Error(folder, used, err)
		}
		if kills := (Group{root}).OOMKills(); kills != 7 {
			t.Error(kills)
		}
	}
}

func TestCountsThatAreMissingOrBroken(t *testing.T) {
	root := t.TempDir()
	if used, err := (Group{root}).CPU(); err == nil {
		t.Error(used)
	}
	if kills := (Group{root}).OOMKills(); kills != 0 {
		t.Error(kills)
	}
	write(t, root, "cpu.stat", "usage_usec a\n")
	if used, err := (Group{root}).CPU(); err == nil {
		t.Error(used)
	}
	write(t, root, "cpu.stat", "")
	if used, err := (Group{root}).CPU(); err == nil {
		t.Error(used)
	}
}
