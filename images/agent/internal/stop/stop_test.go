package stop

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// simulated is a pod whose processes end some time after they are told.
type simulated struct {
	clock     time.Time
	processes []process
	shells    map[int]bool
	holders   map[int]bool
	catching  map[int]bool
	after     map[int]time.Duration // after which each ends; never without an entry
	ends      map[int]time.Time
	children  map[int]process // started by a process when it is told
	log       []string
	began     time.Time
}

func (s *simulated) list() []process {
	var left []process
	for _, one := range s.processes {
		if at, ends := s.ends[one.pid]; !ends || s.clock.Before(at) {
			left = append(left, one)
		}
	}
	s.processes = left
	return append([]process(nil), left...)
}
func (s *simulated) isInteractiveShell(one process) bool { return s.shells[one.pid] }
func (s *simulated) catchesTerm(pid int) bool            { return s.catching[pid] }
func (s *simulated) holdsTerminals(pid int) bool         { return s.holders[pid] }
func (s *simulated) now() time.Time                      { return s.clock }
func (s *simulated) sleep(duration time.Duration)        { s.clock = s.clock.Add(duration) }
func (s *simulated) kill(pid int, signal syscall.Signal) {
	name := map[syscall.Signal]string{syscall.SIGTERM: "TERM", syscall.SIGHUP: "HUP"}[signal]
	s.log = append(s.log, fmt.Sprintf("%d %s %ds", pid, name, int(s.clock.Sub(s.began).Round(time.Second).Seconds())))
	if after, ends := s.after[pid]; ends && s.ends[pid].IsZero() {
		s.ends[pid] = s.clock.Add(after)
	}
	if child, starts := s.children[pid]; starts {
		s.processes = append(s.processes, child)
		delete(s.children, pid)
	}
}

func simulate(processes ...process) *simulated {
	start := time.Unix(1000, 0)
	return &simulated{clock: start, began: start, processes: processes, ends: map[int]time.Time{}}
}

func TestStopTellsProgramsThenShellsThenWhatHoldsTerminals(t *testing.T) {
	// sshd 2, a shell 3 with a program 4, tmux 5, a line 6 of -c whose program is 7, a plain program 8.
	s := simulate(
		process{2, 2, false, "sshd"}, process{3, 3, true, "bash"}, process{4, 3, true, "train"},
		process{5, 5, false, "tmux"}, process{6, 6, true, "sh"}, process{7, 6, true, "save"}, process{8, 8, false, "x"},
	)
	s.shells, s.holders, s.catching = map[int]bool{3: true}, map[int]bool{5: true}, map[int]bool{4: true}
	s.after = map[int]time.Duration{2: 0, 3: 0, 4: 3 * time.Second, 5: 0, 6: 0, 7: 5 * time.Second, 8: 8 * time.Second}
	run(s, 120*time.Second)
	want := []string{"4 TERM 0s", "7 TERM 0s", "8 TERM 0s", "3 HUP 3s", "6 TERM 5s", "2 TERM 8s", "5 TERM 8s"}
	if !reflect.DeepEqual(s.log, want) {
		t.Fatal(s.log)
	}
}

func TestStopOfAProgramThatNeverEndsKeepsTimeForTheTerminals(t *testing.T) {
	s := simulate(process{2, 2, false, "sshd"}, process{3, 3, false, "x"})
	s.after = map[int]time.Duration{2: time.Second}
	run(s, 30*time.Second)
	if want := []string{"3 TERM 0s", "2 TERM 25s", "3 TERM 25s"}; !reflect.DeepEqual(s.log, want) {
		t.Fatal(s.log)
	}
	if took := s.clock.Sub(s.began); took > 28*time.Second {
		t.Fatal(took)
	}
	s = simulate(process{3, 3, false, "x"})
	if run(s, 4*time.Second); s.clock.Sub(s.began) > 5*time.Second {
		t.Fatal("a short grace is not kept", s.clock.Sub(s.began))
	}
}

func TestStopWaitsForWhatAProgramStartsAndDoesNotTellIt(t *testing.T) {
	s := simulate(process{3, 3, false, "x"})
	s.after = map[int]time.Duration{3: time.Second}
	s.children = map[int]process{3: {9, 3, false, "saves"}}
	run(s, 30*time.Second)
	if want := []string{"3 TERM 0s", "9 TERM 25s"}; !reflect.DeepEqual(s.log, want) {
		t.Fatal(s.log)
	}
}

func TestStopOfALeaderThatCatchesTermOrIsAloneTellsItAtOnce(t *testing.T) {
	s := simulate(process{3, 3, true, "x"}, process{4, 3, true, "y"}, process{5, 5, true, "z"})
	s.catching = map[int]bool{3: true}
	s.after = map[int]time.Duration{3: 0, 4: 0, 5: 0}
	run(s, 30*time.Second)
	if want := []string{"3 TERM 0s", "4 TERM 0s", "5 TERM 0s"}; !reflect.DeepEqual(s.log, want) {
		t.Fatal(s.log)
	}
	if s.clock.Sub(s.began) > tick {
		t.Fatal("an empty pod is waited for")
	}
}

func TestParseStatReadsAnyNameAndRefusesTheDead(t *testing.T) {
	one, ok := parseStat(7, []byte("7 (a) b (c) S 1 7 5 34816 7 0"))
	if !ok || one != (process{7, 5, true, "a) b (c"}) {
		t.Fatal(one, ok)
	}
	for _, text := range []string{"", "7 (a) Z 1 7 5 0 7", "7 (a) X 1 7 5 0 7", "7 (a", "7 a) S 1", "7 (a) S 1 7", "7 (a) S 1 7 x y"} {
		if one, ok := parseStat(7, []byte(text)); ok {
			t.Fatal(text, one)
		}
	}
}

func TestInteractiveShellRunsNoScriptAndNoLine(t *testing.T) {
	for line, want := range map[string]bool{
		"-bash": true, "bash": true, "bash -i": true, "bash -l": true, "bash --login -i": true, "bash x.sh": false,
		"sh -c x": false, "bash -lc x": false, "bash --rcfile x -i": true, "bash --rcfile x y": false,
		"bash --init-file": true, "fish --init-command x": true, "bash --noprofile --norc": true,
	} {
		if got := interactive([]byte(strings.ReplaceAll(line, " ", "\x00") + "\x00")); got != want {
			t.Error(line, got)
		}
	}
	if !interactive(nil) {
		t.Error("a process without a command line is no script")
	}
}

func TestTableReadsProc(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"5/stat": "5 (bash) S 1 5 5 34816 5 0", "5/cmdline": "-bash\x00", "5/status": "Name:\tbash\nSigCgt:\t0000000000004000\n",
		"6/stat": "6 (x) S 1 6 6 0 6 0", "6/status": "SigCgt:\t0000000000003fff\n", "7/stat": "7 (z) Z 1 7 7 0 7 0",
		"1/stat": "1 (agent) S 1 1 1 0 1 0", "self/stat": "", "8/cmdline": "",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Join(filepath.Dir(path), "fd"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/dev/pts/ptmx", filepath.Join(root, "6/fd/3")); err != nil {
		t.Fatal(err)
	}
	proc := table{root, 1}
	listed := proc.list()
	if len(listed) != 2 || listed[0].pid+listed[1].pid != 11 {
		t.Fatal(listed)
	}
	if !proc.catchesTerm(5) || proc.catchesTerm(6) || proc.catchesTerm(9) {
		t.Error("caught signals")
	}
	if proc.holdsTerminals(5) || !proc.holdsTerminals(6) || proc.holdsTerminals(9) {
		t.Error("terminals")
	}
	if !proc.isInteractiveShell(process{5, 5, true, "bash"}) || proc.isInteractiveShell(process{5, 5, false, "bash"}) ||
		proc.isInteractiveShell(process{5, 5, true, "python"}) {
		t.Error("shells")
	}
	if (table{filepath.Join(root, "none"), 1}).list() != nil {
		t.Error("no /proc")
	}
}
