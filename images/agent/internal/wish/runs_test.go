package wish

import (
	"os"
	"testing"
	"time"

	"devservers.io/agent/internal/protocol"
)

func TestHoldOfACommandEndsWithIt(t *testing.T) {
	world := newWorld(t)
	folder := t.TempDir()
	done := make(chan int)
	go func() {
		done <- world.client.main([]string{"hold", "--", "sh", "-c", "while [ ! -e " + folder + "/go ]; do sleep .01; done; exit 7"})
	}()
	world.waiting("hold 3600 runs sh")
	if runs := world.service.Runs(); runs != 1 {
		t.Error(runs)
	}
	world.answer(true, "")
	os.WriteFile(folder+"/go", nil, 0o600)
	if code := <-done; code != 7 {
		t.Error(code)
	}
	world.waiting("release 0 runs sh")
	if runs := world.service.Runs(); runs != 0 {
		t.Error(runs)
	}
	world.expect(127, "can't be started", "hold", "1m", "--", "/does/not/exist")
	world.expect(126, "can't be started", "hold", "1m", "--", folder)
	world.expect(137, "", "hold", "1m", "--", "sh", "-c", "kill -9 $$")
}

func TestHoldOfACommandThatIsRefusedIsSaid(t *testing.T) {
	world := newWorld(t)
	folder := t.TempDir()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	world.client.err = write
	done := make(chan int)
	go func() {
		done <- world.client.main([]string{"hold", "1m", "--", "sh", "-c", "while [ ! -e " + folder + "/go ]; do sleep .01; done"})
	}()
	world.answer(false, "at most 30s")
	text := make([]byte, 1000)
	size, _ := read.Read(text)
	if want := "devserver: the hold is refused: at most 30s; the command goes on and counts as activity\n"; string(text[:size]) != want {
		t.Errorf("%q", text[:size])
	}
	os.WriteFile(folder+"/go", nil, 0o600)
	if code := <-done; code != 0 {
		t.Error(code)
	}
}

// A client that is killed closes its connection, as every process does.
func TestHoldOfACommandEndsWithItsClient(t *testing.T) {
	world := newWorld(t)
	_, first, err := world.client.call(Request{Command: "run", Seconds: 60, Reason: "a"}, true)
	if err != nil {
		t.Fatal(err)
	}
	_, second, err := world.client.call(Request{Command: "run", Seconds: 90, Reason: "b"}, true)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	world.waiting("hold 60 a", "hold 90 b")
	second.Close()
	world.waiting("hold 60 a", "hold 90 b", "release 0 b")
}

func TestHoldOfACommandLeavesAnotherHoldInForce(t *testing.T) {
	world := newWorld(t)
	world.set(func(status *Status) { status.Hold = &protocol.Hold{SecondsLeft: 600} })
	world.expect(0, "", "hold", "1m", "--", "true")
	world.expect(1, "at most 8h", "hold", "9h", "--", "true")
	time.Sleep(20 * time.Millisecond)
	world.waiting()
}

// run starts a run as the command does, and returns what ends it.
func (world *world) run(seconds int64, reason string) func() {
	world.t.Helper()
	response, conn, err := world.client.call(Request{Command: "run", Seconds: seconds, Reason: reason}, true)
	if err != nil || response.Error != "" {
		world.t.Fatal(response, err)
	}
	return func() {
		conn.Close()
		for deadline := time.Now().Add(5 * time.Second); world.service.Runs() > 0 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
	}
}

func (world *world) holdInForce(reason string) {
	world.set(func(status *Status) { status.Hold = &protocol.Hold{SecondsLeft: 3600, Reason: reason} })
}

func TestHoldThatIsSetDuringARunStays(t *testing.T) {
	world := newWorld(t)
	end := world.run(0, "runs python")
	world.answer(true, "")
	world.holdInForce("runs python")
	world.service.Runs()
	world.holdInForce("evaluation all night") // devctl hold
	end()
	world.waiting()
}

func TestHoldThatIsAskedForDuringARunStays(t *testing.T) {
	for _, try := range []struct {
		args []string
		want string
	}{
		{[]string{"hold", "8h", "--reason", "all night"}, "hold 28800 all night"},
		{[]string{"release"}, "release 0 "},
	} {
		world := newWorld(t)
		end := world.run(0, "runs python")
		world.answer(true, "")
		world.holdInForce("runs python")
		world.expect(0, "asked", try.args...)
		end()
		world.waiting(try.want)
	}
}

func TestRequestsOfARunAreWithdrawnForAnotherHold(t *testing.T) {
	world := newWorld(t)
	end := world.run(0, "runs python")
	world.waiting("hold 3600 runs python")
	world.holdInForce("all night")
	world.service.Runs()
	world.waiting()
	end()
	world.waiting()

	world = newWorld(t)
	end = world.run(0, "runs python")
	world.answer(true, "")
	end()
	world.waiting("release 0 runs python")
	world.holdInForce("all night")
	world.service.Runs()
	world.waiting()
}

func TestHoldOfARunThatFollowsAnotherIsAskedFor(t *testing.T) {
	world := newWorld(t)
	world.run(0, "runs a")()
	world.answer(true, "")
	world.holdInForce("runs a") // the plan doesn't show the release yet
	end := world.run(0, "runs b")
	world.waiting("release 0 runs a", "hold 3600 runs b")
	end()
	world.waiting("release 0 runs a", "hold 3600 runs b", "release 0 runs b")
	for range 3 {
		world.answer(true, "")
	}
	world.set(func(status *Status) { status.Hold = nil })
	world.service.Runs()
	if world.service.own != nil {
		t.Error(world.service.own)
	}
}

// A container that dies releases nothing: so a run's hold is never asked for more than an hour ahead.
func TestHoldOfARunIsRenewedInSteps(t *testing.T) {
	world := newWorld(t)
	now := time.Duration(0)
	world.service.Clock = func() time.Duration { return now }
	world.set(func(status *Status) { status.Limits.HoldSeconds = protocol.MaxSeconds })
	end := world.run(0, "runs python")
	for _, minutes := range []time.Duration{50, 100} {
		world.waiting("hold 3600 runs python")
		now = minutes*time.Minute - 1
		world.service.Runs() // no second request before the first is answered
		world.answer(true, "")
		world.holdInForce("runs python")
		world.service.Runs()
		world.waiting()
		now++
		world.service.Runs()
	}
	world.waiting("hold 3600 runs python")
	world.answer(true, "")
	end()
	world.waiting("release 0 runs python")
	world.answer(true, "")

	now = 0
	defer world.run(4500, "runs make")()
	world.waiting("hold 3600 runs make")
	world.answer(true, "")
	world.holdInForce("runs make")
	now = 50 * time.Minute
	world.service.Runs()
	world.waiting("hold 1500 runs make") // 75 minutes in all
	world.answer(true, "")
	now = 74 * time.Minute
	world.service.Runs()
	world.waiting()
}

func TestRunCountsForItsTimeOnly(t *testing.T) {
	world := newWorld(t)
	now := time.Duration(0)
	world.service.Clock = func() time.Duration { return now }
	_, conn, err := world.client.call(Request{Command: "run", Seconds: 60}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	now = 59 * time.Second
	if runs := world.service.Runs(); runs != 1 {
		t.Error(runs)
	}
	now = time.Minute
	if runs := world.service.Runs(); runs != 0 {
		t.Error(runs)
	}
}
