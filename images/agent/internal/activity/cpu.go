package activity

import (
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"devservers.io/agent/internal/cgroup"
	"devservers.io/agent/internal/procfs"
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
	for _, process := range procfs.Processes(filepath.Join(root, "proc")) {
		// utime and stime are the 12th and 13th field, the start time is the 20th.
		fields := process.Fields
		if !strings.HasPrefix(process.Name, "sshd") || len(fields) < 20 {
			continue
		}
		user, _ := strconv.ParseInt(fields[11], 10, 64)
		system, _ := strconv.ParseInt(fields[12], 10, 64)
		times[strconv.Itoa(process.ID)+" "+fields[19]] = time.Duration(user+system) * tick
	}
	return times
}
