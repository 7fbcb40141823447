package protocol

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/report.json anew")

func number(value int64) *int64 { return &value }

// The plan that tests/unit/agent/test_messages.py signs and writes.
func TestOpenReadsThePlanOfTheOperator(t *testing.T) {
	body, err := os.ReadFile("testdata/plan.json")
	if err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile("testdata/agent.pub")
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseKey(public)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := Open(body, key)
	if err != nil {
		t.Fatal(err)
	}
	want := &Plan{
		Version: 1, PodUID: "0b3b6f2e-6b1c-4a53-9b55-6a3d8a1f2c4d", Server: "dev-ada/box", Counter: 1_790_000_000_123,
		Stop:    &Stop{InSeconds: 1750, Reason: "idle", Deletes: true, GracePeriodSeconds: 120},
		Final:   true,
		Idle:    Idle{TimeoutSeconds: number(3600), CPUMillicores: 50, GPUPercent: 5, SSHBytesPerMinute: 20000},
		Limits:  Limits{ExtendSeconds: 7200, HoldSeconds: 28800},
		Hold:    &Hold{SecondsLeft: 600, Reason: "a training of Müller's"},
		Answers: []Answer{{ID: "0a1b2c3d", Accepted: false, Message: "at most 2h can be added <now> & later"}},
	}
	if !reflect.DeepEqual(plan, want) {
		t.Errorf("%+v\n%+v", plan, want)
	}
}

// Each field of the operator's plan is a field of ours, so that none is ignored by a slip.
func TestPlanHasEachFieldOfTheOperator(t *testing.T) {
	body, _ := os.ReadFile("testdata/plan.json")
	var envelope struct{ Plan string }
	if err := json.Unmarshal(body, &envelope); err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(strings.NewReader(envelope.Plan))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&Plan{}); err != nil {
		t.Error(err)
	}
}

// tests/unit/agent/test_messages.py reads the same file by parse_report.
func TestEncodeWritesTheReportThatTheOperatorReads(t *testing.T) {
	one := 1
	report := Report{
		PodUID: "0b3b6f2e-6b1c-4a53-9b55-6a3d8a1f2c4d", Counter: 1_790_000_000_123,
		IdleSeconds: number(95), Source: SSH,
		Signals:  Signals{Terminal: number(400), SSH: number(95), CPU: number(4000)},
		Wishes:   []Wish{{"0a1b2c3d", Extend, 7200, ""}, {"ffee0011", HoldWish, 600, "<Müller> & co"}},
		OOMKills: 3,
		Volumes: []Volume{
			{"/home/dev", 1 << 30, number(20 << 30), "statfs"}, {"/data", 12345, nil, "du"},
		},
		Command: &Command{ExitCode: &one, At: 30},
		Setup:   []Step{{"dotfiles", 0, 2}, {"script", 124, 600}},
		Runs:    []RunState{{"big", "running", 0, false, 90, 90}, {"run-20261130-193000", "ended", 137, true, 4000, 60}},
		Lines:   []string{"epoch 1", "epoch 2 – loss 0.1"},
	}
	body, err := report.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("testdata/report.json", append(body, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, _ := os.ReadFile("testdata/report.json")
	if !bytes.Equal(bytes.TrimSpace(golden), body) {
		t.Errorf("testdata/report.json differs (go test ./internal/protocol -update):\n%s", body)
	}
}

func TestEncodeOfEmptyListsWritesNoNull(t *testing.T) {
	body, _ := Report{PodUID: "a", Counter: 1, Source: Unknown}.Encode()
	for _, part := range []string{`"idleSeconds":null`, `"wishes":[]`, `"volumes":[]`, `"setup":[]`, `"runs":[]`, `"lines":[]`, `"unreadable":[]`} {
		if !strings.Contains(string(body), part) {
			t.Errorf("%s is not in %s", part, body)
		}
	}
}

func TestEncodeKeepsTheNewestLinesThatFit(t *testing.T) {
	report := Report{Source: Start}
	for i := range 150 {
		report.Lines = append(report.Lines, strings.Repeat("\"", i*4))
	}
	body, err := report.Encode()
	if err != nil || len(body) > MaxBytes || len(body) < MaxBytes-2000 {
		t.Fatal(err, len(body))
	}
	var read Report
	if err := json.Unmarshal(body, &read); err != nil {
		t.Fatal(err)
	}
	if got := read.Lines[len(read.Lines)-1]; len(got) != 149*4 {
		t.Errorf("the last line is %q", got)
	}
	for i := range 30 {
		report.Volumes = append(report.Volumes, Volume{Path: strings.Repeat("/ü", 256) + string(rune('a'+i))})
	}
	if body, err = report.Encode(); err != nil || len(body) > MaxBytes {
		t.Fatal(err, len(body))
	}
}

func signed(plan string) ([]byte, ed25519.PublicKey) {
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	signature := ed25519.Sign(private, []byte(Context+plan))
	body, _ := json.Marshal(map[string]string{
		"plan": plan, "signature": base64.StdEncoding.EncodeToString(signature),
	})
	return body, private.Public().(ed25519.PublicKey)
}

func TestOpenRefuses(t *testing.T) {
	good := `{"version":1,"podUid":"a","server":"b/c","counter":5}`
	body, key := signed(good)
	if _, err := Open(body, key); err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(body, []byte("counter\\\":5"), []byte("counter\\\":6"), 1)
	if bytes.Equal(changed, body) {
		t.Fatal("nothing was changed")
	}
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, 32)).Public().(ed25519.PublicKey)
	noContext := ed25519.Sign(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)), []byte(good))
	unsaid, _ := json.Marshal(map[string]string{"plan": good, "signature": base64.StdEncoding.EncodeToString(noContext)})
	for name, try := range map[string]struct {
		body []byte
		key  ed25519.PublicKey
	}{
		"changed plan": {changed, key}, "another key": {body, other}, "no key": {body, nil},
		"signature without the context": {unsaid, key},
		"no signature":                  {[]byte(`{"plan":"{}"}`), key},
		"short signature":               {[]byte(`{"plan":"{}","signature":"AAAA"}`), key},
		"not base64":                    {[]byte(`{"plan":"{}","signature":"!!"}`), key},
		"a list":                        {[]byte(`[]`), key}, "nothing": {nil, key}, "no JSON": {[]byte("{"), key},
		"a number":    {[]byte(`{"plan":1,"signature":"AAAA"}`), key},
		"deep":        {[]byte(strings.Repeat("[", MaxBytes)), key},
		"larger":      {append(body, bytes.Repeat([]byte(" "), MaxBytes)...), key},
		"empty":       {[]byte("{}"), key},
		"null":        {[]byte("null"), key},
		"plan absent": {[]byte(`{"signature":"AAAA"}`), key},
	} {
		if plan, err := Open(try.body, try.key); err == nil || plan != nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, %v", name, plan, err)
		}
	}
	for _, text := range []string{
		`[]`, `{}`, `null`, `{"version":2,"podUid":"a","counter":5}`, `{"version":1,"podUid":"","counter":5}`,
		`{"version":1,"podUid":"a","counter":0}`, `{"version":1,"podUid":"a","counter":-1}`,
		`{"version":1,"podUid":"a","counter":1e30}`, `{"version":1,"podUid":"a","counter":9007199254740993}`,
		`{"version":1,"podUid":"a","counter":5,"stop":[]}`, `{"version":1,"podUid":"a","counter":5.5}`,
		`{"version":1,"podUid":"a","counter":5,"answers":[` + strings.Repeat(`{},`, 40) + `{}]}`,
	} {
		body, key := signed(text)
		if plan, err := Open(body, key); err == nil {
			t.Errorf("%s: %+v", text, plan)
		}
	}
}

func TestOpenBoundsNumbersAndTexts(t *testing.T) {
	body, key := signed(`{"version":1,"podUid":"a","counter":5,"new":{"field":1},
		"stop":{"inSeconds":9000000000000000000,"reason":"a\u001b[2Jb\nc","gracePeriodSeconds":-4},
		"idle":{"timeoutSeconds":-1,"cpuMillicores":0,"gpuPercent":400,"sshBytesPerMinute":-1},
		"limits":{"extendSeconds":-5,"holdSeconds":9000000000000000000},
		"hold":{"secondsLeft":-1,"reason":"` + strings.Repeat("ü", 500) + `"}, "answers":[{"id":"` + strings.Repeat("a", 99) + `"}]}`)
	plan, err := Open(body, key)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Stop.InSeconds != MaxSeconds || plan.Stop.GracePeriodSeconds != 0 || plan.Stop.Reason != "a [2Jb c" {
		t.Errorf("%+v", plan.Stop)
	}
	if *plan.Idle.TimeoutSeconds != 0 || plan.Idle.CPUMillicores != 1 || plan.Idle.GPUPercent != 100 || plan.Idle.SSHBytesPerMinute != 1 {
		t.Errorf("%+v", plan.Idle)
	}
	if plan.Limits.ExtendSeconds != 0 || plan.Limits.HoldSeconds != MaxSeconds {
		t.Errorf("%+v", plan.Limits)
	}
	if plan.Hold.SecondsLeft != 0 || len([]rune(plan.Hold.Reason)) != MaxReason || len(plan.Answers[0].ID) != maxAnswerID {
		t.Errorf("%+v %+v", plan.Hold, plan.Answers)
	}
}

func FuzzParsePlan(f *testing.F) {
	body, _ := os.ReadFile("testdata/plan.json")
	var envelope struct{ Plan string }
	_ = json.Unmarshal(body, &envelope)
	f.Add([]byte(envelope.Plan))
	f.Add([]byte(`{"version":1,"podUid":"a","counter":5,"stop":{"inSeconds":-1},"answers":[null]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		plan, err := parsePlan(text)
		if err != nil {
			return
		}
		if plan.Counter < 1 || plan.Idle.CPUMillicores < 1 || len(plan.Answers) > maxAnswers {
			t.Errorf("%+v", plan)
		}
		if plan.Stop != nil && strings.ContainsAny(plan.Stop.Reason, "\n\r\x1b\x9b") {
			t.Errorf("%+v", plan.Stop)
		}
	})
}

func FuzzOpen(f *testing.F) {
	body, key := signed(`{"version":1,"podUid":"a","counter":5}`)
	f.Add(body)
	f.Add([]byte(`{"plan":"","signature":""}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		plan, err := Open(text, key)
		if err == nil && plan.Counter != 5 {
			t.Errorf("an unsigned plan is accepted: %+v", plan)
		}
	})
}
