package runs

import (
	"bytes"
	"testing"
)

func TestRankStandsBeforeEachLineHoweverItIsCut(t *testing.T) {
	text := "one\ntwo\n\nlast"
	for size := 1; size <= len(text); size++ {
		var out bytes.Buffer
		ranks := &prefixer{out: &out, prefix: rankPrefix(0)}
		for at := 0; at < len(text); at += size {
			if wrote, err := ranks.Write([]byte(text[at:min(at+size, len(text))])); err != nil || wrote == 0 {
				t.Fatal(wrote, err)
			}
		}
		if out.String() != "[0] one\n[0] two\n[0] \n[0] last" {
			t.Errorf("%d: %q", size, out.String())
		}
	}
}

func TestLinesOfOneRankArePickedHoweverTheyAreCut(t *testing.T) {
	text := "[0] a\n[1] b\nnone\n[10] c\n[1] d"
	for size := 1; size <= len(text); size++ {
		for strip, want := range map[bool]string{true: "b\nd", false: "[1] b\n[1] d"} {
			var out bytes.Buffer
			rank := &picker{out: &out, prefix: rankPrefix(1), strip: strip}
			for at := 0; at < len(text); at += size {
				_, _ = rank.Write([]byte(text[at:min(at+size, len(text))]))
			}
			if out.String() != want {
				t.Errorf("%d: %q", size, out.String())
			}
		}
	}
}

func TestLogsShowTheRanks(t *testing.T) {
	devserver, registry := served(t)
	if code, _, err := devserver("run", "--name", "plain", "--", "printf", `a\nb\n`); code != 0 {
		t.Fatal(err)
	}
	for _, this := range []struct{ options, want string }{
		{"", "a\nb\n"}, {"--ranks", "[0] a\n[0] b\n"}, {"--rank=0", "a\nb\n"}, {"--from=2", "b\n"},
	} {
		args := []string{"logs", "plain"}
		if this.options != "" {
			args = append(args, this.options)
		}
		if code, out, err := devserver(args...); code != 0 || out != this.want {
			t.Errorf("%s: %d %q %q", this.options, code, out, err)
		}
	}
	if code, _, err := devserver("logs", "plain", "--rank", "1"); code != exitRefused || err != "devserver: run plain has no rank 1; the last is 0\n" {
		t.Errorf("%d %q", code, err)
	}
	record, _ := registry.Folder.Read("plain")
	record.Processes = 2 // torchrun has written the ranks itself
	if err := registry.Folder.write(record); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := devserver("logs", "plain", "--ranks"); code != 0 || out != "a\nb\n" {
		t.Errorf("%d %q", code, out)
	}
}
