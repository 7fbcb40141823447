package wish

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"devservers.io/agent/internal/local"
	"devservers.io/agent/internal/protocol"
	"devservers.io/agent/internal/warn"
)

func TestQueueKeepsAWishUntilItsAnswer(t *testing.T) {
	queue := &Queue{}
	id, err := queue.Add(protocol.Extend, 60, "")
	if err != nil || len(id) != 16 {
		t.Fatal(id, err)
	}
	queue.Answered([]protocol.Answer{{ID: "another"}})
	if waiting := queue.Waiting(); len(waiting) != 1 || waiting[0] != (protocol.Wish{ID: id, Kind: "extend", Seconds: 60}) {
		t.Error(waiting)
	}
	if answer, err := queue.Answer(id); answer != nil || err != nil {
		t.Error(answer, err)
	}
	for range 2 { // the operator repeats it until a report is without the wish
		queue.Answered([]protocol.Answer{{ID: id, Accepted: true, Message: "until 18:00"}})
	}
	if waiting := queue.Waiting(); len(waiting) != 0 || len(queue.answered) != 1 {
		t.Error(waiting, queue.answered)
	}
	if answer, err := queue.Answer(id); err != nil || !answer.Accepted || answer.Message != "until 18:00" {
		t.Error(answer, err)
	}
	if _, err := queue.Answer("another"); err == nil {
		t.Error("a request that nobody made has an answer")
	}
}

func TestQueueIsBounded(t *testing.T) {
	queue := &Queue{}
	for range protocol.MaxWishes {
		if _, err := queue.Add(protocol.Extend, 60, ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := queue.Add(protocol.Extend, 60, ""); err == nil {
		t.Error("a ninth wish")
	}
	for range 5 {
		for _, wish := range queue.Waiting() {
			queue.Answered([]protocol.Answer{{ID: wish.ID}})
			queue.Add(protocol.Extend, 60, "")
		}
	}
	if len(queue.answered) != maxAnswered {
		t.Error(len(queue.answered))
	}
}

type world struct {
	t       *testing.T
	service *Service
	mutex   sync.Mutex
	status  Status
	client  client
	out     *bytes.Buffer
	err     *bytes.Buffer
}

func newWorld(t *testing.T) *world {
	world := &world{t: t, out: &bytes.Buffer{}, err: &bytes.Buffer{}}
	world.status = Status{Server: "dev-ada/box", Limits: &protocol.Limits{ExtendSeconds: 7200, HoldSeconds: 28830}}
	began := time.Now()
	world.service = &Service{
		Queue: &Queue{}, Clock: func() time.Duration { return time.Since(began) },
		Status: func() Status { world.mutex.Lock(); defer world.mutex.Unlock(); return world.status },
	}
	socket := filepath.Join(t.TempDir(), "agent.sock")
	os.WriteFile(socket, nil, 0o600) // of a container that ended
	listener, err := local.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	if status, err := os.Stat(socket); err != nil || status.Mode().Perm() != 0o600 {
		t.Error(status, err)
	}
	t.Cleanup(func() { listener.Close() })
	go world.service.Serve(listener)
	world.client = client{socket, world.out, world.err, time.Second, 10 * time.Millisecond}
	return world
}

func (world *world) set(change func(status *Status)) {
	world.mutex.Lock()
	defer world.mutex.Unlock()
	change(&world.status)
}

func (world *world) expect(code int, part string, args ...string) {
	world.t.Helper()
	world.out.Reset()
	world.err.Reset()
	got := world.client.main(args)
	text := world.out.String() + world.err.String()
	if got != code || !strings.Contains(text, part) {
		world.t.Errorf("devserver %s: %d %q, want %d %q", strings.Join(args, " "), got, text, code, part)
	}
}

func (world *world) waiting(want ...string) {
	world.t.Helper()
	var got []string
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		got = nil
		for _, wish := range world.service.Queue.Waiting() {
			got = append(got, fmt.Sprintf("%s %d %s", wish.Kind, wish.Seconds, wish.Reason))
		}
		if strings.Join(got, ";") == strings.Join(want, ";") {
			return
		}
		if time.Now().After(deadline) {
			world.t.Fatalf("%q, want %q", got, want)
		}
	}
}

// answer plays the operator for the next wish.
func (world *world) answer(accepted bool, message string) {
	for {
		for _, wish := range world.service.Queue.Waiting() {
			world.service.Queue.Answered([]protocol.Answer{{ID: wish.ID, Accepted: accepted, Message: message}})
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func TestCommandAsks(t *testing.T) {
	world := newWorld(t)
	world.expect(0, "asked; the operator answers within a minute", "extend", "2h")
	world.expect(0, "asked", "hold", "8h", "--reason", "a long\x1b[2J training")
	world.expect(0, "asked", "hold", "--reason=b", "1m")
	world.expect(0, "asked", "release")
	world.waiting("extend 7200 ", "hold 28800 a long [2J training", "hold 60 b", "release 0 ")
	for range 4 {
		world.expect(0, "asked", "release")
	}
	world.expect(1, "8 requests wait", "extend", "1h")
}

// What a warning tells a person to type is a request that the operator can grant: within the limits, with a reason.
func TestCommandOfAWarningIsOneThatWorks(t *testing.T) {
	world := newWorld(t)
	world.set(func(status *Status) { status.Limits = &protocol.Limits{ExtendSeconds: 1500, HoldSeconds: 28830} })
	for _, reason := range []string{"idle", "holdEnded", "workingHours", "expired"} {
		motd := filepath.Join(t.TempDir(), "motd")
		announcer := &warn.Announcer{
			Clock: func() time.Duration { return 0 }, Terminals: func() []warn.Terminal { return nil }, Motd: motd,
		}
		announcer.Plan(&protocol.Stop{InSeconds: 900, Reason: reason}, false, *world.status.Limits)
		text, err := os.ReadFile(motd)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(string(text), "`")
		if len(parts) != 3 {
			t.Fatalf("%q has no command", text)
		}
		world.expect(0, "asked", strings.Fields(parts[1])[1:]...)
	}
	hold := "hold 3600 asked in the server"
	world.waiting(hold, hold, hold, "extend 1500 ")
	world.expect(0, "asked", "hold", "1h", "--reason", " \x1b ")
	world.waiting(hold, hold, hold, "extend 1500 ", hold)
}

func TestCommandWaitsForTheAnswer(t *testing.T) {
	world := newWorld(t)
	go world.answer(true, "box stops in 3h")
	world.expect(0, "accepted: box stops in 3h", "extend", "2h", "--wait")
	go world.answer(false, "at most 1h")
	world.expect(1, "refused: at most 1h", "hold", "--wait", "2h")
	world.expect(3, "no answer yet", "release", "--wait")
}

func TestCommandRefusesBadInput(t *testing.T) {
	world := newWorld(t)
	for args, part := range map[string]string{
		"":                  "devserver status",
		"stop":              `there is no command "stop"`,
		"extend":            "needs a time, such as 2h",
		"extend 2x":         `"2x" is not a duration; use days, hours`,
		"extend 0s":         "is not a duration",
		"extend -1h":        "has no option -1h",
		"extend 1h 2h":      "takes no further argument",
		"extend 1h --force": "has no option --force",
		"hold":              "needs a time",
		"hold --":           "no command after --",
		"hold 1h --reason":  "--reason needs a text",
		"release 1h":        "takes no further argument",
		"status --wait":     "has no option --wait",
		"status now":        "takes no further argument",
	} {
		world.expect(exitUsage, part, strings.Fields(args)...)
	}
	world.expect(1, "can be extended by at most 2h now", "extend", "2h1s")
	world.expect(1, "can be held for at most 8h now", "hold", "8h1m")
	world.expect(1, "longer than 200 characters", "hold", "1h", "--reason", strings.Repeat("ü", 201))
	world.set(func(status *Status) { status.Limits = &protocol.Limits{} })
	world.expect(1, "no end, or has the latest that is allowed", "extend", "1h")
	world.expect(1, "allows no hold", "hold", "1h")
	world.expect(1, "allows no hold; the command was not started", "hold", "--", "false")
	world.waiting()
	world.set(func(status *Status) { status.Limits = nil })
	world.expect(1, "no limits yet", "hold", "--", "true")
	world.expect(0, "asked", "hold", "1h") // the operator judges
	world.expect(1, "not between a second and ten years", "extend", "99999d")
	world.expect(0, "devserver extend TIME", "help")
	world.expect(0, "a download that nobody watches needs it: devserver hold -- wget URL", "help")
	world.client.socket += "x"
	world.expect(3, "agent can't be reached", "status")
	world.expect(3, "was not started", "hold", "--", "true")
}

func TestServiceOfAHostileClient(t *testing.T) {
	world := newWorld(t)
	for _, text := range []string{"\n", "[]\n", "{\n", `{"command":"reboot"}` + "\n", strings.Repeat("x", 2*maxRequest), `{"command":"answer","id":"` + strings.Repeat("a", 3000) + `"}` + "\n"} {
		conn, err := net.Dial("unix", world.client.socket)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, text)
		conn.SetReadDeadline(time.Now().Add(3 * time.Second))
		answer := make([]byte, 1000)
		size, _ := conn.Read(answer)
		if !strings.HasPrefix(string(answer[:size]), `{"error":"`) {
			t.Errorf("%.30q: %q", text, answer[:size])
		}
		conn.Close()
	}
	world.expect(0, "asked", "release")
}

func TestStatus(t *testing.T) {
	world := newWorld(t)
	number := func(value int64) *int64 { return &value }
	world.set(func(status *Status) {
		status.PlanAge, status.StopInSeconds, status.StopReason = 20, number(1500), "idle"
		status.IdleSeconds, status.Source, status.Timeout = number(300), protocol.Terminal, number(3600)
		status.Hold = &protocol.Hold{SecondsLeft: 600, Reason: "a training"}
	})
	world.client.main([]string{"extend", "1h"})
	world.expect(0, `server   dev-ada/box (planned 20s ago)
stop     stops in 25m: it is idle
idle     5m, last activity: terminal input; stops when idle for 1h
hold     10m left: a training
limits   can be extended by 2h, held for 8h
asked    extend 1h, waits for the operator
`, "status")
	if most("by", protocol.MaxSeconds) != "without a limit" || most("for", 7200) != "for 2h" {
		t.Error(most("by", protocol.MaxSeconds), most("for", 7200))
	}
	world.set(func(status *Status) { *status = Status{Unreadable: []string{"gpu"}} })
	world.expect(0, `server   the operator has not sent a plan yet
idle     not known, counts as active: gpu can't be read
`, "status")
}
