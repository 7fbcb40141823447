package runs

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"devservers.io/agent/internal/local"
)

// connection is what devctl has of one connection.
type connection struct {
	t    *testing.T
	in   *io.PipeWriter
	out  *bufio.Reader
	code chan int
}

func connected(t *testing.T, registry *Registry, home string) func(args ...string) connection {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "runs.sock")
	listener, err := local.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() { _ = registry.Serve(listener) }()
	return func(args ...string) connection {
		inRead, in := io.Pipe()
		out, outWrite := io.Pipe()
		code := make(chan int, 1)
		go func() {
			code <- client{socket, home, registry.Folder, inRead, outWrite, io.Discard}.main(args)
			outWrite.Close()
		}()
		t.Cleanup(func() { in.Close(); out.Close() })
		return connection{t, in, bufio.NewReader(out), code}
	}
}

func (connection connection) say(text string) {
	connection.t.Helper()
	if _, err := io.WriteString(connection.in, text); err != nil {
		connection.t.Fatal(err)
	}
}

// next is the next frame, with what follows it.
func (connection connection) next() (frame, string) {
	connection.t.Helper()
	var got frame
	line, err := connection.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &got)
	}
	payload := make([]byte, got.Length)
	if err == nil {
		_, err = io.ReadFull(connection.out, payload)
	}
	if err != nil {
		connection.t.Fatalf("%v after %q", err, line)
	}
	return got, string(payload)
}

// rest is all output to the last frame, which is returned.
func (connection connection) rest() (string, frame) {
	connection.t.Helper()
	var text bytes.Buffer
	for {
		got, payload := connection.next()
		if got.Kind != "output" && got.Kind != "heard" {
			return text.String(), got
		}
		text.WriteString(payload)
	}
}

func TestStreamReceivesTheFilesStartsTheRunAndFollowsIt(t *testing.T) {
	registry, home := registryIn(t), t.TempDir()
	connect := connected(t, registry, home)
	script := "pwd; cat data; exit 3"
	first := connect("run", "--stream", "--name", "one", "--mirror", "mine", "--", "sh", "job.sh")
	first.say("f 755 21 5 job.sh\x00f 644 5 5 data\x00\x00")
	if got, _ := first.next(); got.Kind != "need" || len(got.Need) != 2 {
		t.Fatal(got)
	}
	first.say(script + "abcd\n")
	if got, _ := first.next(); got.Kind != "started" || got.Run != "one" || got.Dir != home+"/runs/one" {
		t.Fatal(got)
	}
	text, end := first.rest()
	if text != "[0] "+home+"/runs/one\n[0] abcd\n" || end.Kind != "ended" || end.Record.ExitCode != 3 || end.Record.Name != "one" {
		t.Errorf("%q %+v", text, end)
	}
	if code := <-first.code; code != 0 {
		t.Error(code)
	}
	second := connect("run", "--stream", "--detach", "--name", "two", "--mirror", "mine", "--", "sh", "job.sh")
	second.say("f 755 21 5 job.sh\x00f 644 5 5 data\x00\x00")
	if got, _ := second.next(); got.Kind != "need" || len(got.Need) != 0 {
		t.Errorf("an unchanged folder is sent again: %v", got)
	}
	if got, _ := second.next(); got.Kind != "started" || <-second.code != 0 {
		t.Error(got)
	}
}

func TestStreamThatIsCutIsTakenUpAtItsOffsetAndEndsNoRun(t *testing.T) {
	registry := registryIn(t)
	connect := connected(t, registry, t.TempDir())
	script := "printf 'one\\ntw'; while [ ! -e go ]; do sleep 0.01; done; printf 'o\\nthree\\n'"
	folder := t.TempDir()
	first := connect("run", "--stream", "--name", "cut", "--dir", folder, "--", "sh", "-c", script)
	_, _ = first.next()
	got, text := first.next()
	for got.Next < 6 {
		var more string
		got, more = first.next()
		text += more
	}
	if text != "[0] one\n[0] tw" {
		t.Errorf("%q", text)
	}
	first.in.Close()
	if code := <-first.code; code != exitCut || registry.Running() != 1 {
		t.Fatalf("%d, %d runs go on", code, registry.Running())
	}
	if err := os.WriteFile(folder+"/go", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	second := connect("attach", "cut", "--stream", "--from", "6")
	if text, end := second.rest(); text != "o\n[0] three\n" || end.Kind != "ended" || end.Record.ExitCode != 0 {
		t.Errorf("%q %+v", text, end)
	}
}

func TestStreamCancelsAndKillsItsRun(t *testing.T) {
	registry := registryIn(t)
	connect := connected(t, registry, t.TempDir())
	this := connect("run", "--stream", "--", "sh", "-c", "trap 'echo asked' INT; echo up; while :; do sleep 0.02; done")
	if got, _ := this.next(); got.Kind != "started" || !strings.HasPrefix(got.Run, "run-2") {
		t.Fatal(got)
	}
	if got, text := this.next(); text != "[0] up\n" {
		t.Fatal(got, text)
	}
	this.say("cancel\n")
	var asked, heard bool
	for !asked || !heard {
		got, text := this.next()
		asked, heard = asked || text == "[0] asked\n", heard || got.Kind == "heard" && got.Word == "cancel"
		if got.Kind == "ended" {
			t.Fatal(got, text)
		}
	}
	this.say("kill\n")
	if _, end := this.rest(); end.Record.ExitCode != 137 || !end.Record.Canceled {
		t.Errorf("%+v", end)
	}
}

func TestStreamRefusesBeforeAnythingIsSent(t *testing.T) {
	registry, home := registryIn(t), t.TempDir()
	registry.GPUs = 1
	connect := connected(t, registry, home)
	long := connect("run", "--stream", "--name", "long", "--", "sleep", "60")
	_, _ = long.next()
	for args, want := range map[string]string{
		"run --stream --mirror m --name long --share -- true":  "there is a run long already; give this one another name",
		"run --stream --mirror m --name other -- true":         "run long has the server's GPUs",
		"run --stream --mirror m --share -- no-such-program":   "there is no program no-such-program in the server",
		"run --stream --mirror m --share --torchrun 1 -- x.py": "has no torchrun; ",
		"attach none --stream":                                 "there is no run none",
	} {
		this := connect(strings.Fields(args)...)
		if got, _ := this.next(); got.Kind != "refused" || !strings.Contains(got.Error, want) || got.Code == 0 {
			t.Errorf("%s: %+v", args, got)
		}
	}
	if err := os.MkdirAll(home+"/runs/earlier", 0o755); err != nil { // its record was deleted for its age
		t.Fatal(err)
	}
	earlier := connect("run", "--stream", "--mirror", "m", "--name", "earlier", "--share", "--", "true")
	if got, _ := earlier.next(); got.Kind != "refused" || !strings.Contains(got.Error, "/runs/earlier already; give the run another name") {
		t.Errorf("%+v", got)
	}
	if err := os.RemoveAll(home + "/runs"); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(home); len(entries) != 0 {
		t.Errorf("something was made: %v", entries)
	}
	long.say("kill\n")
	_, _ = long.rest()
}

func TestRunInAHomeThatCantBeWrittenIsRefused(t *testing.T) {
	registry := registryIn(t)
	registry.Folder = "/proc/1/nothing"
	if _, err := registry.Check(Record{Argv: []string{"true"}}); err == nil || !strings.Contains(err.Error(), "the home can't be written") {
		t.Error(err)
	}
}
