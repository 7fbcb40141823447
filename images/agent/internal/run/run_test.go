package run

import (
	"encoding/json"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"devservers.io/agent/internal/agent"
)

func TestParseReadsWhatTheOperatorWrites(t *testing.T) {
	options, err := Parse([]string{"--ssh", "--grace", "90", "--", "sh", "--ssh", "--"})
	if err != nil || !options.SSH || options.Grace != 90*time.Second || !reflect.DeepEqual(options.Command, []string{"sh", "--ssh", "--"}) {
		t.Fatal(options, err)
	}
	options, err = Parse([]string{"--"})
	if err != nil || options.SSH || options.Grace != 120*time.Second || len(options.Command) != 0 {
		t.Fatal(options, err)
	}
	for _, wrong := range [][]string{{"--grace"}, {"--grace", "x"}, {"--grace", "-1"}, {"--grace", "99999999999"}, {"ssh"}, {"--grace", "--"}} {
		if _, err := Parse(wrong); err == nil {
			t.Error(wrong)
		}
	}
}

func TestTerminationFitsWhateverWasPrinted(t *testing.T) {
	var message struct {
		Lines    []string
		OOMKills int
	}
	for name, lines := range map[string][]string{
		"none": nil, "few": {"a", "b"}, "many": strings.Split(strings.Repeat("0123456789\n", 1000), "\n"),
		"escaped": {"first", strings.Repeat("\x01", 2000), "last"}, "one that is too long": {strings.Repeat("x", 5000)},
	} {
		text := termination(agent.Ending{Reason: "idle", OOMKills: 2}, lines)
		if err := json.Unmarshal(text, &message); err != nil || len(text) > 3*1024 {
			t.Fatal(name, err, len(text))
		}
		if strings.Contains(string(text), "idle") || message.OOMKills != 2 {
			t.Error(name, message)
		}
		if name == "few" && !reflect.DeepEqual(message.Lines, lines) {
			t.Error(message.Lines)
		}
		if name == "escaped" && !reflect.DeepEqual(message.Lines, []string{"last"}) {
			t.Error(message.Lines)
		}
		if name == "many" && len(message.Lines) < 150 {
			t.Error(len(message.Lines))
		}
	}
}

func TestWriteTerminationReplacesTheContentAndMakesNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	writeTermination(path, []byte("x"))
	if _, err := os.Stat(path); err == nil {
		t.Fatal("a file was made")
	}
	if err := os.WriteFile(path, []byte("a long text"), 0o644); err != nil {
		t.Fatal(err)
	}
	writeTermination(path, []byte("short"))
	if text, _ := os.ReadFile(path); string(text) != "short" {
		t.Fatalf("%q", text)
	}
}

func TestSignalsAreCaughtAndOnlyTermAndIntEnd(t *testing.T) {
	defer signal.Reset()
	ended, _ := catchSignals()
	for _, number := range []syscall.Signal{syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGPIPE, syscall.SIGABRT, syscall.SIGSEGV} {
		if err := syscall.Kill(os.Getpid(), number); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(50 * time.Millisecond)
	select {
	case got := <-ended:
		t.Fatal(got)
	default:
	}
	for _, number := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		if err := syscall.Kill(os.Getpid(), number); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Fatal(number)
		}
	}
	for range 3 {
		reserveThreads(4)
	}
}
