package duration

import (
	"encoding/json"
	"os"
	"testing"
)

func TestParseCasesOfBothSides(t *testing.T) {
	text, err := os.ReadFile("testdata/durations.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases struct {
		Durations map[string]int64
		Others    []string
	}
	if err := json.Unmarshal(text, &cases); err != nil || len(cases.Durations) < 5 || len(cases.Others) < 5 {
		t.Fatal(err, cases)
	}
	for text, seconds := range cases.Durations {
		if got, err := Parse(text); err != nil || got != seconds {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range cases.Others {
		if got, err := Parse(text); err == nil {
			t.Errorf("%q is taken for %d seconds", text, got)
		}
	}
}

func TestFormat(t *testing.T) {
	for seconds, text := range map[int64]string{
		-5: "0s", 0: "0s", 59: "59s", 60: "1m", 61: "2m", 1800: "30m", 3600: "1h", 3601: "1h1m", 9000: "2h30m",
		86400: "1d", 90000: "1d1h", 86460: "1d", 5 * 86400: "5d",
	} {
		if got := Format(seconds); got != text {
			t.Errorf("%d: %s", seconds, got)
		}
	}
}
