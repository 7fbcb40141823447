package activity

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"devservers.io/agent/internal/protocol"
)

type fake struct {
	reading Reading
	active  bool
}

func (source *fake) Sample(now time.Duration, _ Thresholds) (Reading, time.Duration, bool) {
	return source.reading, now, source.active
}

type clock struct{ now time.Duration }

func (clock *clock) read() time.Duration { return clock.now }

func TestMeterNamesTheLastActivity(t *testing.T) {
	at := &clock{time.Hour}
	terminal, ssh, cpu, gpu := &fake{reading: Readable}, &fake{reading: Readable}, &fake{reading: Readable}, &fake{}
	meter := New(at.read, terminal, ssh, cpu, gpu)
	meter.SetThresholds(Thresholds{})
	expect := func(source string, idle time.Duration) {
		t.Helper()
		state := meter.State()
		if state.Idle == nil || *state.Idle != idle || state.Source != source {
			t.Errorf("%v, want %s %s", state, source, idle)
		}
	}
	at.now += 10 * time.Second
	meter.Sample()
	expect(protocol.Start, 10*time.Second)
	cpu.active = true
	meter.Sample()
	expect(protocol.CPU, 0)
	cpu.active = false
	at.now += time.Minute
	meter.Sample()
	expect(protocol.CPU, time.Minute)
	meter.Mark(protocol.Held)
	expect(protocol.Held, 0)
	at.now += time.Minute
	terminal.active, ssh.active = true, true
	meter.Sample()
	expect(protocol.Terminal, 0)
	if since := meter.State().Since; !reflect.DeepEqual(since, map[string]time.Duration{
		protocol.Terminal: 0, protocol.SSH: 0, protocol.CPU: 2 * time.Minute,
	}) {
		t.Error(since)
	}
}

func TestMeterTakesTheUnreadableForActiveAndTheAbsentForNothing(t *testing.T) {
	at := &clock{}
	terminal, other := &fake{reading: Readable}, &fake{reading: Absent}
	meter := New(at.read, terminal, other, other, other)
	meter.SetThresholds(Thresholds{})
	at.now = time.Hour
	meter.Sample()
	if state := meter.State(); state.Idle == nil || *state.Idle != time.Hour || len(state.Unreadable) != 0 {
		t.Error(state)
	}
	terminal.reading = Unreadable
	meter.Sample()
	state := meter.State()
	if state.Idle != nil || state.Source != protocol.Unknown || !reflect.DeepEqual(state.Unreadable, []string{protocol.Terminal}) {
		t.Error(state)
	}
	// What happened meanwhile is not known: idleness counts from the time at which it could be read again.
	terminal.reading = Readable
	at.now += time.Minute
	meter.Sample()
	if state := meter.State(); state.Idle == nil || *state.Idle != time.Minute || state.Source != protocol.Unknown {
		t.Error(state)
	}
}

func TestMeterCountsTheTimeBeforeTheFirstThresholdsAsActive(t *testing.T) {
	at := &clock{}
	silent := &fake{reading: Readable}
	meter := New(at.read, silent, silent, silent, silent)
	idle := func() time.Duration {
		meter.Sample()
		return *meter.State().Idle
	}
	at.now = time.Hour
	if idle() != 0 || meter.State().Source != protocol.Start {
		t.Error(meter.State())
	}
	meter.SetThresholds(Thresholds{CPUMillicores: 20})
	at.now += time.Minute
	if idle() != time.Minute || meter.State().Source != protocol.Start {
		t.Error(meter.State())
	}
}

func TestTerminalsCountInputOnly(t *testing.T) {
	root := t.TempDir()
	folder := filepath.Join(root, "dev/pts")
	if reading, _, _ := (&Terminals{Root: root}).Sample(0, Thresholds{}); reading != Absent {
		t.Error(reading)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	terminals := &Terminals{Root: root}
	sample := func(want bool) {
		t.Helper()
		if reading, _, active := terminals.Sample(0, Thresholds{}); reading != Readable || active != want {
			t.Error(reading, active)
		}
	}
	touch := func(name string, access, modification int64) {
		t.Helper()
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Unix(access, 0), time.Unix(modification, 0)); err != nil {
			t.Fatal(err)
		}
	}
	sample(false)
	touch("0", 1000, 1000)
	touch("ptmx", 1000, 1000)
	sample(false) // a new terminal alone is nobody's input
	touch("0", 1000, 2000)
	touch("ptmx", 2000, 2000)
	sample(false) // output
	touch("0", 3000, 2000)
	sample(true)
	sample(false)
	touch("0", 1000, 2000) // the time of day was set back
	sample(true)
	os.Remove(filepath.Join(folder, "0"))
	sample(false)
}

// With a real terminal: what of it the kernel notes when.
func TestTerminalsOfTheKernel(t *testing.T) {
	master, name := openTerminal(t)
	slave, err := syscall.Open(name, syscall.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(slave)
	times := func() (syscall.Timespec, syscall.Timespec) {
		var status syscall.Stat_t
		if err := syscall.Stat(name, &status); err != nil {
			t.Fatal(err)
		}
		return status.Atim, status.Mtim
	}
	// The kernel changes a time only when it differs by eight seconds.
	past := time.Now().Add(-time.Minute)
	if err := os.Chtimes(name, past, past); err != nil {
		t.Fatal(err)
	}
	access, modification := times()
	if _, err := syscall.Write(slave, []byte("output")); err != nil {
		t.Fatal(err)
	}
	if a, m := times(); a != access || m == modification {
		t.Error("output changed the access time, or not the modification time")
	}
	_, modification = times()
	if _, err := master.Write([]byte("input\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := syscall.Read(slave, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if a, m := times(); a == access || m != modification {
		t.Error("input that was read didn't change the access time, or changed the modification time")
	}
}

func group(t *testing.T, root string, used time.Duration) {
	write(t, root, "sys/fs/cgroup/cpuacct/cpuacct.usage", fmt.Sprintln(used.Nanoseconds()))
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func process(t *testing.T, root string, pid int, name string, ticks, start int) {
	write(t, root, fmt.Sprintf("proc/%d/stat", pid), fmt.Sprintf(
		"%d (%s) S 1 1 1 0 -1 4194560 100 0 0 0 %d %d 7000 8000 20 0 1 0 %d 1000 200\n", pid, name, ticks, ticks, start))
}

func TestCPUIsWithoutTheAgentAndSshd(t *testing.T) {
	root := t.TempDir()
	var self time.Duration
	cpu := &CPU{Root: root, Self: func() time.Duration { return self }}
	limits := Thresholds{CPUMillicores: 50} // 500 ms in 10 s
	now := time.Duration(0)
	sample := func(want bool) {
		t.Helper()
		now += 10 * time.Second
		if reading, at, active := cpu.Sample(now, limits); reading != Readable || active != want || active && at != now {
			t.Error(reading, at, active)
		}
	}
	write(t, root, "proc/self/stat", "")
	write(t, root, "proc/9/stat", "")
	process(t, root, 20, "sshd", 10, 5)
	process(t, root, 30, "a) sshd (x", 10, 5)
	group(t, root, time.Hour)
	sample(false) // nothing to compare with
	group(t, root, time.Hour+500*time.Millisecond)
	sample(false) // not above
	group(t, root, time.Hour+1010*time.Millisecond)
	sample(true)
	self = 300 * time.Millisecond
	process(t, root, 20, "sshd", 20, 5)          // 200 ms more
	process(t, root, 21, "sshd-session", 20, 90) // 400 ms, all of it new
	group(t, root, time.Hour+2210*time.Millisecond)
	sample(false)                                // 1200 ms, all but 300 ms of them ours
	process(t, root, 21, "sshd-session", 10, 99) // another one with the same number
	process(t, root, 30, "a) sshd (x", 1000, 5)
	group(t, root, time.Hour+3010*time.Millisecond)
	sample(true) // 800 ms, 200 ms of them sshd's
	os.RemoveAll(filepath.Join(root, "sys"))
	if reading, _, active := cpu.Sample(now, limits); reading != Unreadable || active {
		t.Error(reading, active)
	}
	group(t, root, 2*time.Hour)
	sample(false) // what was used while nothing could be read is in no sample
}

func TestGPU(t *testing.T) {
	root := t.TempDir()
	answers := make(chan string)
	gpu := &GPU{Root: root, Run: func(ctx context.Context, argv ...string) ([]byte, error) {
		if !strings.HasSuffix(argv[0], "usr/bin/nvidia-smi") {
			t.Error(argv)
		}
		text := <-answers
		if text == "" {
			return nil, errors.New("it hung")
		}
		return []byte(text), nil
	}}
	limits := Thresholds{GPUPercent: 5}
	now := time.Duration(0)
	sample := func(reading Reading, active bool) {
		t.Helper()
		if r, _, a := gpu.Sample(now, limits); r != reading || a != active {
			t.Error(now, r, a)
		}
	}
	answer := func(text string) {
		answers <- text
		for {
			gpu.mutex.Lock()
			running := gpu.running
			gpu.mutex.Unlock()
			if !running {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	sample(Absent, false)
	write(t, root, "dev/nvidiactl", "")
	sample(Absent, false)
	write(t, root, "dev/nvidia0", "")
	write(t, root, "usr/bin/nvidia-smi", "")
	os.Chmod(filepath.Join(root, "usr/bin/nvidia-smi"), 0o755)
	sample(Readable, true) // until there is an answer; the sample doesn't wait for it
	now += 5 * time.Second
	sample(Readable, true)
	answer("97\n0\n")
	sample(Readable, true)
	now += 30 * time.Second
	sample(Readable, true) // asks again
	answer("0\n5\n")
	sample(Readable, false)
	now += 30 * time.Second
	sample(Readable, false)
	answer("[N/A]\n")
	sample(Unreadable, false)
	now += 30 * time.Second
	sample(Unreadable, false)
	answer("3\n")
	sample(Readable, false)
	now += 30 * time.Second
	sample(Readable, false) // asks, and is never answered
	now += 3 * time.Minute
	sample(Unreadable, false)
	answer("")
	sample(Unreadable, false)
}

func TestGPUWithoutProgram(t *testing.T) {
	root := t.TempDir()
	write(t, root, "dev/nvidia0", "")
	gpu := &GPU{Root: root}
	gpu.Sample(0, Thresholds{})
	for {
		gpu.mutex.Lock()
		running := gpu.running
		gpu.mutex.Unlock()
		if !running {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if reading, _, _ := gpu.Sample(time.Second, Thresholds{}); reading != Unreadable {
		t.Error(reading)
	}
}
