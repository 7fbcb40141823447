package activity

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"devservers.io/agent/internal/cgroup"
)

const tick = 10 * time.Millisecond // USER_HZ is 100 on every architecture that we run on

// CPU is the container's processor time without that of the agent and of sshd, which keeps connections alive.
type CPU struct {
	Root string
	Self func() time.Duration // processor time of the agent

	sampled bool
	at      time.Duration
	used    time.Duration
	self    time.Duration
	sshd    map[string]time.Duration
}

// Sample is active when more than the threshold was used since the sample before.
func (cpu *CPU) Sample(now time.Duration, thresholds Thresholds) (Reading, time.Duration, bool) {
	used, err := cgroup.Group{Root: cpu.Root}.CPU()
	if err != nil {
		cpu.sampled = false
		return Unreadable, 0, false
	}
	self, sshd := cpu.Self(), sshdTimes(cpu.Root)
	work := used - cpu.used - (self - cpu.self)
	for process, time := range sshd {
		work -= time - cpu.sshd[process]
	}
	elapsed := now - cpu.at
	active := cpu.sampled && elapsed > 0 && work*1000 > elapsed*time.Duration(thresholds.CPUMillicores)
	cpu.sampled, cpu.at, cpu.used, cpu.self, cpu.sshd = true, now, used, self, sshd
	return Readable, now, active
}

// sshdTimes are the processor times of sshd's processes, by process and its start.
func sshdTimes(root string) map[string]time.Duration {
	times := map[string]time.Duration{}
	folder, err := os.Open(filepath.Join(root, "proc"))
	if err != nil {
		return times
	}
	defer folder.Close()
	names, _ := folder.Readdirnames(-1)
	for _, name := range names {
		if name[0] < '0' || name[0] > '9' {
			continue
		}
		text, err := cgroup.ReadFile(filepath.Join(root, "proc", name, "stat"))
		open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
		if err != nil || open < 0 || end < open || !strings.HasPrefix(text[open+1:end], "sshd") {
			continue
		}
		// From the state on: utime and stime are the 12th and 13th, the start time is the 20th.
		fields := strings.Fields(text[end+1:])
		if len(fields) < 20 {
			continue
		}
		user, _ := strconv.ParseInt(fields[11], 10, 64)
		system, _ := strconv.ParseInt(fields[12], 10, 64)
		times[name+" "+fields[19]] = time.Duration(user+system) * tick
	}
	return times
}
