package runs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"devservers.io/agent/internal/process"
)

func registryIn(t *testing.T) *Registry {
	t.Helper()
	reaper := process.NewReaper()
	stop := make(chan struct{})
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				reaper.Collect()
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-collected })
	return &Registry{
		Folder: Of(t.TempDir()), Reaper: reaper, Now: time.Now,
		Say: func(text string, err error) { t.Log(text, err) },
		Go:  func(_ string, run func()) { go run() },
	}
}

func shell(t *testing.T, name, script string) Record {
	t.Helper()
	return Record{Name: name, Argv: []string{"sh", "-c", script}, Dir: t.TempDir()}
}

func followed(t *testing.T, registry *Registry, name string, from int64) (string, Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var out bytes.Buffer
	record, err := registry.Folder.Follow(ctx, &out, name, from, registry.Ended)
	if err != nil {
		t.Fatalf("following %s: %v after %q", name, err, out.String())
	}
	return out.String(), record
}

func TestRunKeepsItsOutputAndExitCode(t *testing.T) {
	registry := registryIn(t)
	record, err := registry.Start(shell(t, "first", "echo out; echo err >&2; echo $DEVSERVERS_RUN; exit 7"))
	if err != nil || record.State != Running {
		t.Fatalf("%+v %v", record, err)
	}
	output, record := followed(t, registry, "first", 0)
	if output != "out\nerr\nfirst\n" || record.State != Ended || record.ExitCode != 7 || record.Ended.IsZero() {
		t.Errorf("%q %+v", output, record)
	}
	if rest, _ := followed(t, registry, "first", 4); rest != "err\nfirst\n" {
		t.Errorf("from byte 4: %q", rest)
	}
	if registry.Running() != 0 {
		t.Errorf("%d runs go on", registry.Running())
	}
}

func TestFollowerThatComesBackMissesNothing(t *testing.T) {
	registry := registryIn(t)
	if _, err := registry.Start(shell(t, "lines", "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); sleep 0.002; done")); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	cuts := 0
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		_, err := registry.Folder.Follow(ctx, &got, "lines", int64(got.Len()), registry.Ended)
		cancel()
		if err == nil {
			break
		}
		if cuts++; cuts > 200 {
			t.Fatalf("the run has not ended: %q", got.String())
		}
	}
	if lines := strings.Count(got.String(), "\n"); lines != 300 || cuts == 0 {
		t.Errorf("%d lines after %d cuts", lines, cuts)
	}
}

func TestCanceledRunHearsCtrlCAndIsThenKilled(t *testing.T) {
	registry := registryIn(t)
	if _, err := registry.Start(shell(t, "stubborn", "trap 'echo interrupted' INT; echo ready; while :; do sleep 0.05; done")); err != nil {
		t.Fatal(err)
	}
	await(t, "it has started", func() bool { return output(registry, "stubborn") == "ready\n" })
	if err := registry.Cancel("stubborn", false); err != nil {
		t.Fatal(err)
	}
	await(t, "it has heard", func() bool { return strings.Contains(output(registry, "stubborn"), "interrupted") })
	if err := registry.Cancel("stubborn", true); err != nil {
		t.Fatal(err)
	}
	if _, record := followed(t, registry, "stubborn", 0); record.ExitCode != 137 || !record.Canceled {
		t.Errorf("%+v", record)
	}
	if err := registry.Cancel("stubborn", false); err == nil || err.Error() != "run stubborn is ended" {
		t.Error(err)
	}
}

func TestKillingARunEndsItsProcessesInSessionsOfTheirOwn(t *testing.T) {
	registry := registryIn(t) // one for both: its reaper takes every process that has ended
	for number, kill := range []func(*Registry, string) error{
		func(registry *Registry, name string) error { return registry.Cancel(name, true) },
		func(registry *Registry, name string) error { // as for its memory
			registry.mutex.Lock()
			defer registry.mutex.Unlock()
			return registry.running[name].process.Signal(syscall.SIGKILL)
		},
	} {
		name := fmt.Sprint("ranks-", number)
		// As torchrun starts its ranks; each of these starts another one.
		script := "setsid sh -c 'trap \"\" TERM INT; sleep 300 & sleep 301' & setsid sleep 302 & echo ready; wait"
		if _, err := registry.Start(shell(t, name, script)); err != nil {
			t.Fatal(err)
		}
		await(t, "its processes are there", func() bool { return len(members("/proc", name)) == 5 })
		if err := kill(registry, name); err != nil {
			t.Fatal(err)
		}
		if _, record := followed(t, registry, name, 0); record.ExitCode != 137 {
			t.Errorf("%+v", record)
		}
		await(t, "none is left", func() bool { return len(members("/proc", name)) == 0 })
	}
}

func TestTorchrunOfADistributedServerIsRefusedAsARunIsOfOnePod(t *testing.T) {
	registry := registryIn(t)
	registry.Replicas = 4
	asked := shell(t, "all", "true")
	asked.Torchrun = "auto"
	if _, err := registry.Start(asked); err == nil || !strings.Contains(err.Error(), "this server has 4 replicas, and a run is of one; start torchrun in all") {
		t.Errorf("%v", err)
	}
	if _, err := registry.Start(shell(t, "one", "true")); err != nil {
		t.Error(err)
	}
	followed(t, registry, "one", 0)
}

func TestOneRunHasTheGPUsUnlessItShares(t *testing.T) {
	registry := registryIn(t)
	registry.GPUs = 1
	if _, err := registry.Start(shell(t, "training", "sleep 30")); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Start(shell(t, "second", "true")); err == nil || !strings.Contains(err.Error(), "run training has the server's GPUs") {
		t.Errorf("%v", err)
	}
	shared := shell(t, "third", "true")
	shared.Share = true
	if _, err := registry.Start(shared); err != nil {
		t.Error(err)
	}
	if err := registry.Cancel("training", true); err != nil {
		t.Error(err)
	}
	followed(t, registry, "training", 0)
}

func TestStartThatCantBeLeavesNoRecord(t *testing.T) {
	registry := registryIn(t)
	for _, asked := range []struct {
		record Record
		error  string
	}{
		{shell(t, "UPPER", "true"), "is no name of a run"},
		{shell(t, "../up", "true"), "is no name of a run"},
		{Record{Name: "empty", Dir: "/"}, "there is no command"},
		{Record{Name: "nowhere", Argv: []string{"true"}, Dir: "/nowhere/at/all"}, "there is no folder /nowhere/at/all"},
		{Record{Name: "missing", Argv: []string{"no-such-program"}, Dir: "/"}, "there is no program no-such-program in the server"},
	} {
		if _, err := registry.Start(asked.record); err == nil || !strings.Contains(err.Error(), asked.error) {
			t.Errorf("%s: %v", asked.record.Name, err)
		}
	}
	if records := registry.Folder.List(); len(records) != 0 {
		t.Errorf("%+v", records)
	}
	if _, err := registry.Start(shell(t, "twice", "true")); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Start(shell(t, "twice", "true")); err == nil || !strings.Contains(err.Error(), "there is a run twice already") {
		t.Error(err)
	}
	followed(t, registry, "twice", 0)
}

func TestRunOfAStoppedServerIsLostWithItsOutput(t *testing.T) {
	registry := registryIn(t)
	started := time.Now().UTC().Add(-time.Hour).Truncate(time.Second)
	record := Record{Name: "old", Argv: []string{"train"}, Dir: "/", State: Running, Started: started}
	if err := registry.Folder.create(record); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(registry.Folder.Output("old"), []byte("epoch 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	registry.Recover()
	output, record := followed(t, registry, "old", 0)
	if output != "epoch 1\n" || record.State != Lost || !record.Ended.After(started) {
		t.Errorf("%q %+v", output, record)
	}
}

func TestOldRecordsMakeRoomAndRunningOnesStay(t *testing.T) {
	registry := registryIn(t)
	begin := time.Now().UTC().Add(-time.Hour)
	for number := range maxKept + 5 {
		record := Record{Name: registry.Folder.FreeName(begin), Argv: []string{"x"}, Dir: "/", State: Ended, Started: begin.Add(time.Duration(number) * time.Second)}
		if number == 0 {
			record.State = Running
		}
		if err := registry.Folder.create(record); err != nil {
			t.Fatal(err)
		}
	}
	registry.Folder.prune()
	records := registry.Folder.List()
	if len(records) != maxKept+1 || records[maxKept].State != Running {
		t.Errorf("%d records, the oldest is %s", len(records), records[len(records)-1].State)
	}
}

func TestRecordThatIsNoneIsAnErrorAndIsNotListed(t *testing.T) {
	folder := Of(t.TempDir())
	for name, text := range map[string]string{"broken": "{", "large": strings.Repeat(" ", maxRecord+1) + "{}"} {
		if err := os.MkdirAll(filepath.Join(string(folder), name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(string(folder), name, recordFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := folder.Read(name); err == nil || !strings.Contains(err.Error(), "can't be read") {
			t.Error(name, err)
		}
	}
	if _, err := folder.Read("none"); err == nil || !strings.Contains(err.Error(), "there is no run none") {
		t.Error(err)
	}
	if records := folder.List(); len(records) != 0 {
		t.Errorf("%+v", records)
	}
}

func output(registry *Registry, name string) string {
	text, _ := os.ReadFile(registry.Folder.Output(name))
	return string(text)
}

func await(t *testing.T, what string, ready func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if ready() {
			return
		}
	}
	t.Fatalf("after 20 s it is not so that %s", what)
}

func TestRecentRunsAreKnownWithoutTheHome(t *testing.T) {
	registry := registryIn(t)
	for number := range maxRecent + 2 {
		record, err := registry.Start(shell(t, "run-"+string(rune('a'+number)), "exit 3"))
		if err != nil {
			t.Fatal(err)
		}
		followed(t, registry, record.Name, 0)
	}
	recent := registry.Recent()
	if len(recent) != maxRecent || recent[0].Name != "run-l" || recent[0].State != Ended || recent[0].ExitCode != 3 {
		t.Errorf("%+v", recent)
	}
	again := &Registry{Folder: registry.Folder, Now: time.Now}
	again.Recover()
	if recent = again.Recent(); len(recent) != maxRecent || recent[0].ExitCode != 3 {
		t.Errorf("%+v", recent)
	}
}
