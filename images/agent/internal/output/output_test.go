package output

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestLastReturnsLinesOldestFirstAndTheBeginningOfALine(t *testing.T) {
	var buffer Buffer
	if got := buffer.Last(MaxLines, MaxBytes); got != nil {
		t.Fatal(got)
	}
	out, errors := buffer.Stream(), buffer.Stream()
	out.Keep([]byte("a\nhal"))
	errors.Keep([]byte("warned\r\n"))
	out.Keep([]byte("f\n\nprompt> "))
	want := []string{"a", "warned", "half", "", "prompt> "}
	if got := buffer.Last(MaxLines, MaxBytes); !reflect.DeepEqual(got, want) {
		t.Fatalf("%q", got)
	}
	if got := buffer.Last(2, MaxBytes); !reflect.DeepEqual(got, want[3:]) {
		t.Fatalf("%q", got)
	}
	if got := buffer.Last(MaxLines, 10); !reflect.DeepEqual(got, want[3:]) {
		t.Fatalf("%q", got)
	}
}

func TestBufferStaysBoundedWhateverIsWritten(t *testing.T) {
	for name, part := range map[string][]byte{
		"long line":  bytes.Repeat([]byte("x"), 100_000),
		"no UTF-8":   bytes.Repeat([]byte{0xff, 'a', '\n'}, 5000),
		"only lines": bytes.Repeat([]byte("\n"), 50_000),
		"nothing":    {},
	} {
		var buffer Buffer
		stream := buffer.Stream()
		for range 50 {
			stream.Keep(part)
		}
		if cap(buffer.text) > 8*MaxBytes || cap(stream.partial) > 2*maxPartial {
			t.Errorf("%s: %d and %d bytes", name, cap(buffer.text), cap(stream.partial))
		}
		lines := buffer.Last(MaxLines, MaxBytes)
		if size := len(strings.Join(lines, "\n")); len(lines) > MaxLines || size > MaxBytes {
			t.Errorf("%s: %d lines, %d bytes", name, len(lines), size)
		}
		if !utf8.ValidString(strings.Join(lines, "")) {
			t.Errorf("%s is not UTF-8", name)
		}
	}
}

func TestBufferKeepsTheLastHundredOfManyLines(t *testing.T) {
	var buffer Buffer
	stream := buffer.Stream()
	for number := range 10_000 {
		stream.Keep(fmt.Appendf(nil, "line %d\n", number))
	}
	lines := buffer.Last(MaxLines, MaxBytes)
	if len(lines) != MaxLines || lines[0] != "line 9900" || lines[99] != "line 9999" {
		t.Fatal(len(lines), lines[0])
	}
}

func TestPipePassesEveryByteOn(t *testing.T) {
	target, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	var buffer Buffer
	write, copier, err := Pipe(int(target.Fd()), buffer.Stream())
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("0123456789abcdef\n\x00\xff"), 60_000)
	if _, err := write.Write(data); err != nil {
		t.Fatal(err)
	}
	copier.Drain(20 * time.Second)
	if _, err := target.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(target); !bytes.Equal(got, data) {
		t.Fatalf("%d bytes of %d", len(got), len(data))
	}
	_ = write.Close()
}

func TestPipeWhoseTargetFailsNeverBlocksTheWriter(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	var buffer Buffer
	write, _, err := Pipe(int(full.Fd()), buffer.Stream())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := write.Write(append(bytes.Repeat([]byte("x"), 1<<20), "\nlast\n"...))
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the writer hangs")
	}
	for until := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if lines := buffer.Last(1, MaxBytes); len(lines) == 1 && lines[0] == "last" {
			return
		} else if time.Now().After(until) {
			t.Fatal(lines)
		}
	}
}
