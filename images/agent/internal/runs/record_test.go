package runs

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// block makes it impossible to write a new file beside a record, as a full home does.
func block(t *testing.T, folder Folder, name string) (unblock func()) {
	t.Helper()
	part := filepath.Join(string(folder), name, recordFile+".new")
	if err := os.MkdirAll(filepath.Join(part, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	return func() { _ = os.RemoveAll(part) }
}

func TestTheEndOfARunIsWrittenInPlaceWhereThereIsNoRoom(t *testing.T) {
	registry := registryIn(t)
	if _, err := registry.Start(shell(t, "full", "while [ ! -e go ]; do sleep 0.01; done; exit 7")); err != nil {
		t.Fatal(err)
	}
	block(t, registry.Folder, "full")
	record, err := registry.Folder.Read("full")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(record.Dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, record := followed(t, registry, "full", 0); record.State != Ended || record.ExitCode != 7 {
		t.Errorf("%+v", record)
	}
	if record, err := registry.Folder.Read("full"); err != nil || record.State != Ended || record.ExitCode != 7 {
		t.Errorf("%+v %v", record, err)
	}
}

func TestTheEndOfARunIsKnownWhileTheHomeDoesntHaveIt(t *testing.T) {
	defer func(before time.Duration) { writeEvery = before }(writeEvery)
	writeEvery = 20 * time.Millisecond
	devserver, registry := served(t)
	record, err := registry.Start(shell(t, "full", "while [ ! -e go ]; do sleep 0.01; done; exit 7"))
	if err != nil {
		t.Fatal(err)
	}
	// A record without blanks has no room for its end either.
	path := filepath.Join(string(registry.Folder), "full", recordFile)
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, []byte(strings.TrimSpace(string(text))), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	unblock := block(t, registry.Folder, "full")
	if err := os.WriteFile(filepath.Join(record.Dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, text := devserver("attach", "full"); code != 7 {
		t.Errorf("%d %s", code, text)
	}
	if record, err := registry.Folder.Read("full"); err != nil || record.State != Running {
		t.Fatalf("the home has it: %+v %v", record, err)
	}
	if _, out, _ := devserver("runs"); !strings.Contains(out, "failed (exit 7)") {
		t.Error(out)
	}
	if err := registry.Cancel("full", false); err == nil || err.Error() != "run full is ended" {
		t.Error(err)
	}
	unblock()
	await(t, "the home has it", func() bool {
		record, err := registry.Folder.Read("full")
		return err == nil && record.State == Ended && record.ExitCode == 7
	})
}

func TestARunWhoseFolderWasDeletedKeepsItsNameToItsEnd(t *testing.T) {
	registry := registryIn(t)
	record, err := registry.Start(shell(t, "gone", "while [ ! -e go ]; do sleep 0.01; done"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(string(registry.Folder), "gone")); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Start(shell(t, "gone", "true")); err == nil || !strings.Contains(err.Error(), "there is a run gone already") {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(record.Dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, "its end is no longer kept", func() bool {
		_, held := registry.Ended("gone")
		return registry.Running() == 0 && !held
	})
}

func TestOddRecordsNeverBlockTheAgentAndAreDropped(t *testing.T) {
	registry := registryIn(t)
	folder := func(name string) string {
		path := filepath.Join(string(registry.Folder), name)
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(path, recordFile)
	}
	if err := syscall.Mkfifo(folder("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", folder("link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(folder("dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"state": `{"state": "x"}`, "none": `{}`, "code": `{"state": "ended", "exitCode": 300}`,
		"negative": `{"state": "ended", "exitCode": -1}`, "many": `{"state": "ended", "processes": 1000000}`,
	} {
		if err := os.WriteFile(folder(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if record, err := registry.Folder.Read(name); err == nil {
			t.Errorf("%s: %+v", name, record)
		}
	}
	recovered := make(chan struct{})
	go func() { registry.Recover(); close(recovered) }()
	select {
	case <-recovered:
	case <-time.After(10 * time.Second):
		t.Fatal("the agent waits for a FIFO")
	}
	if recent := registry.Recent(); len(recent) != 0 {
		t.Errorf("%+v", recent)
	}
}

func TestAFIFOInPlaceOfTheNextRecordDoesntBlock(t *testing.T) {
	folder := Of(t.TempDir())
	record := Record{Name: "run", Argv: []string{"x"}, Dir: "/", State: Running, Started: time.Now()}
	if err := folder.create(record); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(string(folder), "run", recordFile+".new"), 0o600); err != nil {
		t.Fatal(err)
	}
	written := make(chan error)
	record.State = Ended
	go func() { written <- folder.write(record) }()
	select {
	case err := <-written:
		if read, readError := folder.Read("run"); err != nil || readError != nil || read.State != Ended {
			t.Error(read, err, readError)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the agent waits for a FIFO")
	}
}

func TestFailedCreateLeavesNoFolder(t *testing.T) {
	folder := Of(t.TempDir())
	large := Record{Name: "large", Argv: []string{strings.Repeat("x", maxRecord)}, Dir: "/", State: Running}
	if err := folder.create(large); err == nil || !strings.Contains(err.Error(), "are more than") {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(string(folder), "large")); !os.IsNotExist(err) {
		t.Error("the name is taken")
	}
}

func TestANameIsFoundInAHomeThatCantBeRead(t *testing.T) {
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, ".devservers"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	name := make(chan string)
	go func() { name <- Of(home).FreeName(time.Now()) }()
	select {
	case <-name:
	case <-time.After(10 * time.Second):
		t.Fatal("it is looked for without end")
	}
}

func TestAHomeThatHangsHoldsUpNoAnswerOfTheRegistry(t *testing.T) {
	registry := registryIn(t)
	registry.starts.Lock() // a start that reads the home
	defer registry.starts.Unlock()
	answered := make(chan struct{})
	go func() {
		registry.Running()
		registry.Recent()
		_, _ = registry.Ended("x")
		registry.Stopping()
		close(answered)
	}()
	select {
	case <-answered:
	case <-time.After(10 * time.Second):
		t.Fatal("it waits for the home")
	}
}

func TestAPlainRunStartsNotBesideASharedOne(t *testing.T) {
	registry := registryIn(t)
	registry.GPUs = 1
	shared := shell(t, "shared", "sleep 30")
	shared.Share = true
	if _, err := registry.Start(shared); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Start(shell(t, "plain", "true")); err == nil || !strings.Contains(err.Error(), "run shared has the server's GPUs") {
		t.Errorf("%v", err)
	}
	second := shell(t, "second", "true")
	second.Share = true
	if _, err := registry.Start(second); err != nil {
		t.Error(err)
	}
	if err := registry.Cancel("shared", true); err != nil {
		t.Error(err)
	}
	followed(t, registry, "shared", 0)
	followed(t, registry, "second", 0)
}
