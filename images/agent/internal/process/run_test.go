package process

import (
	"bytes"
	"context"
	"syscall"
	"testing"
	"time"
)

func TestRunReturnsOutputAndExitCode(t *testing.T) {
	reaper := collecting(t)
	for line, want := range map[string]int{"echo out; echo err >&2; exit 3": 3, "echo out; echo err >&2; kill -9 $$": 137} {
		var out bytes.Buffer
		code, err := reaper.Run(context.Background(), Spec{Argv: []string{"sh", "-c", line}}, &out)
		if err != nil || code != want || out.String() != "out\nerr\n" {
			t.Fatal(code, err, out.String())
		}
	}
	var out bytes.Buffer
	if _, err := reaper.Run(context.Background(), Spec{Argv: []string{"/none"}}, &out); err != syscall.ENOENT {
		t.Fatal(err)
	}
}

func TestRunEndsWithItsContextWhateverTheProcessDoes(t *testing.T) {
	reaper := collecting(t)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	var out bytes.Buffer
	began := time.Now()
	_, err := reaper.Run(ctx, Spec{Argv: []string{"sh", "-c", "trap '' TERM; echo begins; while :; do sleep 0.1; done"}}, &out)
	if err != context.DeadlineExceeded || out.String() != "begins\n" || time.Since(began) > 10*time.Second {
		t.Fatal(err, out.String(), time.Since(began))
	}
	if _, err := reaper.Run(ctx, Spec{Argv: []string{"true"}}, &out); err != context.DeadlineExceeded {
		t.Fatal("started after the context's end", err)
	}
}

func TestRunDoesNotWaitForWhatAProcessLeavesBehind(t *testing.T) {
	var out bytes.Buffer
	began := time.Now()
	code, err := collecting(t).Run(context.Background(), Spec{Argv: []string{"sh", "-c", "echo out; sleep 30 & exit 0"}}, &out)
	if err != nil || code != 0 || out.String() != "out\n" || time.Since(began) > 10*time.Second {
		t.Fatal(code, err, out.String(), time.Since(began))
	}
}
