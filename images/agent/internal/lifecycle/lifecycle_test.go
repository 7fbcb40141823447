package lifecycle

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"devservers.io/agent/internal/process"
	"devservers.io/agent/internal/protocol"
	"devservers.io/agent/internal/runs"
	"devservers.io/agent/internal/setup"
)

var private = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func newService(t *testing.T) *Service {
	root := t.TempDir()
	write(t, root+"/sys/fs/cgroup/cpu.stat", "usage_usec 1000000\n")
	write(t, root+"/sys/fs/cgroup/memory.events", "oom_kill 2\n")
	write(t, root+"/home/dev/file", "text")
	write(t, root+"/setup/script", "true")
	write(t, root+"/agent.pub", base64.StdEncoding.EncodeToString(private.Public().(ed25519.PublicKey)))
	os.Mkdir(root+"/run", 0o755)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	code := 3
	return New(Options{
		PodUID: "pod", Home: root + "/home/dev", Volumes: []string{root + "/home/dev"}, Interval: 100 * time.Millisecond,
		Root: root, RunPath: root + "/run", KeyFile: root + "/agent.pub", SetupDir: root + "/setup", Address: listener.Addr().String(),
		Run:     func(_ context.Context, program setup.Program) (int, error) { return 7, nil },
		Runs:    &runs.Registry{Folder: runs.Of(root + "/home/dev"), Reaper: process.NewReaper(), Now: time.Now},
		Lines:   func() []string { return []string{"last line"} },
		Command: func() *protocol.Command { return &protocol.Command{ExitCode: &code, At: 5} },
		Say:     func(text string, err error) { t.Log(text, err) },
		Go:      func(_ string, run func()) { go run() },
	})
}

func plan(counter int64) *protocol.Plan {
	return &protocol.Plan{
		Version: 1, PodUID: "pod", Server: "dev-ada/box", Counter: counter,
		Idle:   protocol.Idle{CPUMillicores: 50, GPUPercent: 5, SSHBytesPerMinute: 10000},
		Limits: protocol.Limits{ExtendSeconds: 3600, HoldSeconds: 60},
	}
}

func post(service *Service, plan *protocol.Plan) (protocol.Report, error) {
	var report protocol.Report
	text, _ := json.Marshal(plan)
	signature := ed25519.Sign(private, append([]byte(protocol.Context), text...))
	body, _ := json.Marshal(map[string]string{"plan": string(text), "signature": base64.StdEncoding.EncodeToString(signature)})
	response, err := http.Post("http://"+service.options.Address+protocol.Path, "application/json", bytes.NewReader(body))
	if err != nil {
		return report, err
	}
	defer response.Body.Close()
	answer, _ := io.ReadAll(response.Body)
	if response.StatusCode != 200 {
		return report, fmt.Errorf("%d %s", response.StatusCode, answer)
	}
	return report, json.Unmarshal(answer, &report)
}

func eventually(t *testing.T, check func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !check(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it didn't happen")
		}
	}
}

func TestServiceFromStartToEnd(t *testing.T) {
	service := newService(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	service.Start(ctx)
	counter := int64(0)
	var report protocol.Report
	next := func(change func(plan *protocol.Plan)) {
		t.Helper()
		counter++
		plan := plan(counter)
		change(plan)
		var err error
		if report, err = post(service, plan); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() bool {
		counter++
		var err error
		report, err = post(service, plan(counter))
		return err == nil && len(report.Volumes) == 1 && len(report.Setup) == 1 && report.IdleSeconds != nil
	})
	if report.Source != protocol.Start || report.OOMKills != 2 || *report.Command.ExitCode != 3 || len(report.Lines) != 0 {
		t.Errorf("%+v", report)
	}
	if report.Setup[0] != (protocol.Step{Step: "script", ExitCode: 7}) || report.Volumes[0].SizeBytes != nil {
		t.Errorf("%+v", report)
	}

	id, err := service.queue.Add(protocol.Extend, 60, "")
	if err != nil {
		t.Fatal(err)
	}
	next(func(*protocol.Plan) {})
	if !reflect.DeepEqual(report.Wishes, []protocol.Wish{{ID: id, Kind: "extend", Seconds: 60}}) {
		t.Error(report.Wishes)
	}
	next(func(plan *protocol.Plan) { plan.Answers = []protocol.Answer{{ID: id, Accepted: true}} })
	if len(report.Wishes) != 0 {
		t.Error(report.Wishes)
	}

	next(func(plan *protocol.Plan) { plan.Hold = &protocol.Hold{SecondsLeft: 60, Reason: "a"} })
	if report.Source != protocol.Held || *report.IdleSeconds != 0 {
		t.Errorf("%+v", report)
	}
	if status := service.status(); status.Hold == nil || status.Server != "dev-ada/box" || status.Limits.HoldSeconds != 60 {
		t.Errorf("%+v", status)
	}
	if code, _ := service.Ending(); code != "" {
		t.Error(code)
	}

	motd := service.options.RunPath + "/motd"
	next(func(plan *protocol.Plan) { plan.Stop = &protocol.Stop{InSeconds: 600, Reason: "expired"} })
	eventually(t, func() bool {
		text, _ := os.ReadFile(motd)
		return strings.Contains(string(text), "stops in 10m: its time is over; `devserver extend 1h` keeps it")
	})
	response, err := http.Get("http://" + service.options.Address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(response.Body)
	response.Body.Close()
	for _, part := range []string{"devserver_planned_stop_seconds 5", "devserver_oom_kills_total 2\n", `devserver_volume_used_bytes{path="`, "devserver_idle_seconds "} {
		if !strings.Contains(string(text), part) {
			t.Errorf("%s is not in\n%s", part, text)
		}
	}

	next(func(plan *protocol.Plan) {
		plan.Stop, plan.Final = &protocol.Stop{InSeconds: 30, Reason: "suspended"}, true
	})
	if !reflect.DeepEqual(report.Lines, []string{"last line"}) {
		t.Error(report.Lines)
	}
	service.Stopping(time.Minute)
	if reason, kills := service.Ending(); reason != "suspended" || kills != 2 {
		t.Error(reason, kills)
	}
}

func TestHandleOfAnUnreadableSourceIsActive(t *testing.T) {
	service := newService(t)
	os.RemoveAll(service.options.Root + "/sys")
	service.sample()
	report := service.Handle(plan(1))
	if report.IdleSeconds != nil || report.Source != protocol.Unknown || !reflect.DeepEqual(report.Unreadable, []string{"cpu"}) {
		t.Errorf("%+v", report)
	}
}

// The operator's regular exchange may come once more before the pod is told to stop.
func TestPlanAfterTheFinalOneDoesNotTakeTheStopBack(t *testing.T) {
	service := newService(t)
	now := time.Duration(0)
	service.clock = func() time.Duration { return now }
	service.announcer.Clock = service.clock
	final := plan(1)
	final.Final, final.Stop = true, &protocol.Stop{Reason: "suspended", GracePeriodSeconds: 120}
	service.Handle(final)
	service.warn()
	id, _ := service.queue.Add(protocol.Extend, 60, "")
	now = 119 * time.Second
	late := plan(2)
	late.Answers = []protocol.Answer{{ID: id}}
	if report := service.Handle(late); len(report.Wishes) != 0 || len(report.Lines) != 0 {
		t.Error(report.Wishes, report.Lines)
	}
	service.warn()
	if reason, _ := service.Ending(); reason != "suspended" {
		t.Errorf("%q", reason)
	}
	if text, err := os.ReadFile(service.announcer.Motd); err != nil || !strings.Contains(string(text), "stops now") {
		t.Errorf("%q %v", text, err)
	}
	now = 2 * time.Minute // the stop was not carried out
	service.Handle(plan(3))
	service.warn()
	if reason, _ := service.Ending(); reason != "" {
		t.Errorf("%q", reason)
	}
}

// The pod is deleted by nobody's plan, and the operator says why a moment later.
func TestStoppingWaitsForTheReasonOfAnEndThatNoPlanAnnounced(t *testing.T) {
	service := newService(t)
	service.Handle(plan(1))
	time.AfterFunc(100*time.Millisecond, func() {
		final := plan(2)
		final.Final, final.Stop = true, &protocol.Stop{Reason: "preempted"}
		service.Handle(final)
	})
	began := time.Now()
	service.Stopping(time.Minute)
	if took := time.Since(began); took > reasonWait-100*time.Millisecond {
		t.Error(took)
	}
	if reason, _ := service.Ending(); reason != "preempted" {
		t.Errorf("%q", reason)
	}
}

func TestStoppingWithoutAReasonEndsInTime(t *testing.T) {
	for name, try := range map[string]struct {
		plan        *protocol.Plan
		grace       time.Duration
		least, most time.Duration
	}{
		"no operator":         {nil, time.Minute, 0, 50 * time.Millisecond},
		"silent operator":     {plan(1), time.Minute, reasonWait, reasonWait + time.Second},
		"little time to stop": {plan(1), time.Second, 100 * time.Millisecond, 500 * time.Millisecond},
	} {
		service := newService(t)
		if try.plan != nil {
			service.Handle(try.plan)
		}
		began := time.Now()
		service.Stopping(try.grace)
		if took := time.Since(began); took < try.least || took > try.most {
			t.Error(name, took)
		}
		if reason, _ := service.Ending(); reason != "" {
			t.Errorf("%s: %q", name, reason)
		}
	}
}

func TestHoldEndsByItselfBetweenPlans(t *testing.T) {
	service := newService(t)
	now := time.Duration(0)
	service.clock = func() time.Duration { return now }
	held := plan(1)
	held.Hold = &protocol.Hold{SecondsLeft: 20}
	service.Handle(held)
	now = 19 * time.Second
	if hold := service.hold(); hold == nil || hold.SecondsLeft != 1 {
		t.Error(hold)
	}
	now = 20 * time.Second
	if hold := service.hold(); hold != nil {
		t.Error(hold)
	}
}

func TestSettingsOfTheEnvironment(t *testing.T) {
	for text, want := range map[string][]string{
		"": {"/home/dev"}, "/a\n/b c\n": {"/a", "/b c"}, "relative\n/a": {"/a"}, "x": {"/home/dev"},
		strings.Repeat("/a\n", 99): strings.Split(strings.Repeat("/a\n", protocol.MaxVolumes-1)+"/a", "\n"),
	} {
		if got := Paths(text, "/home/dev"); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q", text, got)
		}
	}
	for text, want := range map[string]time.Duration{
		"": 0, "10": 10 * time.Second, "0.5": 500 * time.Millisecond, "0": 0, "-1": 0, "NaN": 0, "1e9": 0, "x": 0,
	} {
		if got := Interval(text); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}
