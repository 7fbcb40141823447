package warn

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"devservers.io/agent/internal/protocol"
)

func TestSequence(t *testing.T) {
	text := strings.Repeat("ü", 100)
	for name, try := range map[string]struct {
		terminal Terminal
		want     string
	}{
		"shell":       {Terminal{Columns: 80, Program: "bash", Term: "xterm"}, "\x1bD\x1b[A\x1b7\r\x1b[L\x1b[0m" + text[:158] + "\x1b8\x1b[B"},
		"plain":       {Terminal{Columns: 300, Program: "make", Term: "xterm", Canonical: true}, "\x1bD\x1b[A\x1b7\r\x1b[L\x1b[0m" + text + "\x1b8\x1b[B"},
		"full screen": {Terminal{Columns: 80, Program: "vim", Term: "xterm"}, "\x1b7\x1b[999;1H\x1b[0;7m\x1b[2K" + text[:158] + "\x1b8"},
		"dumb":        {Terminal{Columns: 80, Program: "bash", Term: "dumb"}, "\r\n" + text[:158] + "\r\n"},
		"unknown":     {Terminal{}, "\r\n" + text + "\r\n"},
		"tmux":        {Terminal{Columns: 80, Program: "tmux: client", Term: "xterm"}, ""},
	} {
		if got := string(try.terminal.Sequence(text)); got != try.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

type pty struct {
	master int
	path   string
}

func open(t *testing.T) pty {
	t.Helper()
	master, err := syscall.Open("/dev/ptmx", syscall.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { syscall.Close(master) })
	var number, unlocked int32
	if code := ioctl(master, syscall.TIOCGPTN, unsafe.Pointer(&number)); code != 0 {
		t.Fatal(code)
	}
	if code := ioctl(master, syscall.TIOCSPTLCK, unsafe.Pointer(&unlocked)); code != 0 {
		t.Fatal(code)
	}
	return pty{master, fmt.Sprintf("/dev/pts/%d", number)}
}

func (pty pty) read() string {
	buffer := make([]byte, 4096)
	size, _ := syscall.Read(pty.master, buffer)
	return string(buffer[:max(0, size)])
}

func TestWriteToAStoppedTerminalReturnsAtOnceAndIsTriedAgain(t *testing.T) {
	pty := open(t)
	slave, err := syscall.Open(pty.path, syscall.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(slave)
	if _, err := syscall.Write(pty.master, []byte{'S' & 0x1f}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	announcer := &Announcer{Clock: func() time.Duration { return 0 }, Terminals: func() []Terminal { return []Terminal{{Path: pty.path}} }}
	began := time.Now()
	announcer.Plan(&protocol.Stop{InSeconds: 240, Reason: "idle"}, false, protocol.Limits{})
	if took := time.Since(began); took > time.Second {
		t.Error(took)
	}
	if text := pty.read(); strings.Contains(text, "devserver") {
		t.Errorf("%q", text)
	}
	announcer.Tick()
	if _, err := syscall.Write(pty.master, []byte{'Q' & 0x1f}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	announcer.Tick()
	announcer.Tick()
	text := ""
	for range 20 {
		time.Sleep(5 * time.Millisecond)
		text += pty.read()
	}
	if strings.Count(text, "this server stops in 4m") != 1 {
		t.Errorf("%q", text)
	}
}

func TestWriteToATerminalThatIsGoneIsAnError(t *testing.T) {
	for _, path := range []string{"/dev/pts/999999", filepath.Join(t.TempDir(), "3")} {
		if err := (Terminal{Path: path}).Write("text"); err == nil {
			t.Error(path)
		}
	}
	file := filepath.Join(t.TempDir(), "target")
	os.WriteFile(file, nil, 0o600)
	os.Symlink(file, file+"link")
	if err := (Terminal{Path: file + "link"}).Write("text"); err == nil {
		t.Error("a link was followed")
	}
}

func TestTerminalsAreThoseOfTheAccountWithTheirPrograms(t *testing.T) {
	pty := open(t)
	var status syscall.Stat_t
	if err := syscall.Stat(pty.path, &status); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	os.MkdirAll(filepath.Join(root, "dev"), 0o755)
	os.Symlink("/dev/pts", filepath.Join(root, "dev/pts"))
	for name, text := range map[string]string{
		"self/stat": "x", "7/stat": "broken", "8/stat": "8 (a b) S 1",
		"9/stat":  fmt.Sprintf("9 (ba) (sh) S 1 9 9 %d 12 0", ttyNumber(status.Rdev)),
		"12/comm": "vim\n", "12/environ": "HOME=/\x00TERM=xterm-256color\x00",
	} {
		path := filepath.Join(root, "proc", name)
		os.MkdirAll(filepath.Dir(path), 0o755)
		os.WriteFile(path, []byte(text), 0o644)
	}
	seen := false
	for _, terminal := range Terminals(root) {
		if terminal.Path == filepath.Join(root, pty.path) {
			seen = true
			if terminal.Program != "vim" || terminal.Term != "xterm-256color" {
				t.Errorf("%+v", terminal)
			}
		}
	}
	if !seen {
		t.Error(Terminals(root))
	}
	if some := Terminals(t.TempDir()); some != nil {
		t.Error(some)
	}
}

type world struct {
	t         *testing.T
	now       time.Duration
	announcer *Announcer
	pty       pty
}

func newWorld(t *testing.T) *world {
	world := &world{t: t, pty: open(t)}
	// Kept open: a slave that nobody has open loses what was written to it.
	slave, err := syscall.Open(world.pty.path, syscall.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(slave) })
	world.announcer = &Announcer{
		Clock:     func() time.Duration { return world.now },
		Terminals: func() []Terminal { return []Terminal{{Path: world.pty.path}} },
		Motd:      filepath.Join(t.TempDir(), "motd"),
	}
	return world
}

func (world *world) expect(want string) {
	world.t.Helper()
	time.Sleep(5 * time.Millisecond)
	got := strings.ReplaceAll(world.pty.read(), "\r\r\n", "\r\n")
	if strings.TrimSpace(got) != want {
		world.t.Errorf("at %s: %q, want %q", world.now, got, want)
	}
}

// pass lets time go by in steps of ten seconds.
func (world *world) pass(time_ time.Duration) {
	for end := world.now + time_; world.now < end; {
		world.now += 10 * time.Second
		world.announcer.Tick()
	}
}

var limits = protocol.Limits{ExtendSeconds: 3600, HoldSeconds: 3600}

func TestAnnouncerCountsDownWithoutFurtherPlans(t *testing.T) {
	world := newWorld(t)
	world.announcer.Plan(&protocol.Stop{InSeconds: 3600, Reason: "expired"}, false, limits)
	world.expect("")
	world.pass(29 * time.Minute)
	world.expect("")
	world.pass(time.Minute)
	world.expect("devserver: this server stops in 30m: its time is over; `devserver extend 1h` keeps it")
	world.pass(15 * time.Minute)
	world.expect("devserver: this server stops in 15m: its time is over; `devserver extend 1h` keeps it")
	world.pass(9 * time.Minute)
	world.expect("")
	world.pass(time.Minute)
	world.expect("devserver: this server stops in 5m: its time is over; `devserver extend 1h` keeps it")
	world.pass(5 * time.Minute)
	world.expect("devserver: this server stops now: its time is over")
	world.announcer.Plan(&protocol.Stop{InSeconds: 0, Reason: "expired"}, true, limits)
	world.announcer.Stopping()
	world.expect("") // it was said
}

func TestAnnouncerOfPlansThatDriftAnnouncesEachStageOnce(t *testing.T) {
	world := newWorld(t)
	for left := int64(1860); left > 1700; left -= 30 {
		world.announcer.Plan(&protocol.Stop{InSeconds: left + left%7 - 3, Reason: "idle"}, false, limits)
		world.pass(30 * time.Second)
	}
	world.expect("devserver: this server stops in 30m: it is idle; `devserver hold 1h` keeps it")
}

func TestAnnouncerIsArmedAnewByALaterStopAndByNone(t *testing.T) {
	world := newWorld(t)
	world.announcer.Plan(&protocol.Stop{InSeconds: 240, Reason: "idle", Deletes: true}, false, protocol.Limits{})
	world.expect("devserver: this server is deleted in 4m: it is idle")
	world.announcer.Plan(&protocol.Stop{InSeconds: 1200, Reason: "idle"}, false, protocol.Limits{})
	world.expect("devserver: this server stops in 20m: it is idle")
	world.announcer.Plan(nil, false, limits)
	world.expect("devserver: the planned stop is called off")
	if _, err := os.Stat(world.announcer.Motd); !os.IsNotExist(err) {
		t.Error(err)
	}
	world.announcer.Plan(nil, false, limits)
	world.announcer.Plan(&protocol.Stop{InSeconds: 7200, Reason: "idle"}, false, limits)
	world.announcer.Plan(nil, false, limits) // nobody was warned
	world.expect("")
	world.announcer.Plan(&protocol.Stop{InSeconds: 240, Reason: "idle"}, false, limits)
	world.expect("devserver: this server stops in 4m: it is idle; `devserver hold 1h` keeps it")
}

// Each plan moves the stop by less than what counts as another stop.
func TestAnnouncerIsArmedAnewByAStopThatCreeps(t *testing.T) {
	world := newWorld(t)
	for left := int64(240); left <= 600; left += 20 {
		world.announcer.Plan(&protocol.Stop{InSeconds: left, Reason: "idle"}, false, protocol.Limits{})
	}
	time.Sleep(5 * time.Millisecond)
	if text := world.pty.read(); !strings.Contains(text, "stops in 4m: ") || !strings.Contains(text, "stops in 8m: ") {
		t.Errorf("%q", text)
	}
}

func TestAnnouncerStoppingNamesTheReasonOfAStopThatIsDueOnly(t *testing.T) {
	world := newWorld(t)
	world.announcer.Plan(&protocol.Stop{InSeconds: 3600, Reason: "idle"}, false, limits)
	world.announcer.Stopping()
	world.expect("devserver: this server stops now")
	world = newWorld(t)
	world.announcer.Stopping()
	world.expect("devserver: this server stops now")
	world = newWorld(t)
	world.announcer.Plan(&protocol.Stop{InSeconds: 3600, Reason: "suspended"}, true, limits)
	world.expect("devserver: this server stops now: your access is suspended")
}

func TestAnnouncerOfARestartSaysSo(t *testing.T) {
	world := newWorld(t)
	world.announcer.Plan(&protocol.Stop{Reason: "restarted"}, true, limits)
	world.expect("devserver: this server restarts now: you asked for it")
}

func TestAnnouncerWritesTheMessageOfTheDay(t *testing.T) {
	world := newWorld(t)
	expect := func(want string) {
		t.Helper()
		if text, _ := os.ReadFile(world.announcer.Motd); string(text) != want {
			t.Errorf("%q", text)
		}
	}
	world.announcer.Tick()
	expect("")
	world.announcer.Plan(&protocol.Stop{InSeconds: 5*3600 + 60, Reason: "expired"}, false, protocol.Limits{})
	expect("devserver: this server stops in 5h15m: its time is over\n")
	world.pass(4 * time.Hour)
	expect("devserver: this server stops in 1h1m: its time is over\n")
	world.announcer.Plan(nil, false, limits)
	expect("")
}
