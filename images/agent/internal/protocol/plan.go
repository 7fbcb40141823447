// Package protocol holds the messages between the operator and the agent of a server.
//
// Invariant: both ends agree with core/devservers_core/protocol/agent; testdata/ holds a message of each side that
// the tests of both sides read. Durations are whole seconds, never times: two clocks may differ.
package protocol

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

const (
	Version        = 1
	Path           = "/v1/exchange"
	Context        = "devservers-agent-plan-v1\n" // signed before the plan's text
	MaxBytes       = 16 * 1024                    // of a plan with its signature, and of a report
	MaxLines       = 100
	MaxSeconds     = 10 * 365 * 86400
	MaxWishes      = 8
	MaxSetupSteps  = 16
	MaxRuns        = 10
	MaxReason      = 200
	MaxVolumes     = 18 // core's MAX_VOLUMES and two
	maxAnswers     = 32
	maxMessage     = 1000
	maxAnswerID    = 32
	maxServerName  = 320
	maxPodUID      = 64
	maxSafeCounter = 1 << 53
)

// Stop is an end that is planned, as the agent announces it.
type Stop struct {
	InSeconds          int64  `json:"inSeconds"` // from now; 0 and less is now
	Reason             string `json:"reason"`
	Deletes            bool   `json:"deletes"`
	GracePeriodSeconds int64  `json:"gracePeriodSeconds"`
}

// Idle says from when on a server counts as idle.
type Idle struct {
	TimeoutSeconds    *int64 `json:"timeoutSeconds"` // nil where idleness stops nothing
	CPUMillicores     int64  `json:"cpuMillicores"`
	GPUPercent        int64  `json:"gpuPercent"`
	SSHBytesPerMinute int64  `json:"sshBytesPerMinute"`
}

// Limits are the most that wishes may ask for.
type Limits struct {
	ExtendSeconds int64 `json:"extendSeconds"`
	HoldSeconds   int64 `json:"holdSeconds"`
}

// Hold is a hold in force.
type Hold struct {
	SecondsLeft int64  `json:"secondsLeft"`
	Reason      string `json:"reason"`
}

// Answer is what the operator made of a wish.
type Answer struct {
	ID       string `json:"id"`
	Accepted bool   `json:"accepted"`
	Message  string `json:"message"`
}

// Plan is what the operator plans for one server. Fields that a newer operator adds are ignored.
type Plan struct {
	Version int      `json:"version"`
	PodUID  string   `json:"podUid"`
	Server  string   `json:"server"`
	Counter int64    `json:"counter"`
	Stop    *Stop    `json:"stop"`
	Final   bool     `json:"final"`
	Idle    Idle     `json:"idle"`
	Limits  Limits   `json:"limits"`
	Hold    *Hold    `json:"hold"`
	Answers []Answer `json:"answers"`
}

// ErrSignature is the refusal of a plan that the operator did not sign.
var ErrSignature = errors.New("the plan's signature is not valid")

// ParseKey reads a public key: 32 bytes in base64 on one line.
func ParseKey(text []byte) (ed25519.PublicKey, error) {
	key, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, errors.New("the operator's public key is not 32 bytes in base64")
	}
	return ed25519.PublicKey(key), nil
}

// Open returns the plan in a request's body after its signature was checked. Nothing of an unsigned plan is parsed.
func Open(body []byte, key ed25519.PublicKey) (*Plan, error) {
	if len(body) > MaxBytes {
		return nil, fmt.Errorf("the request is larger than %d bytes", MaxBytes)
	}
	var envelope struct {
		Plan      string `json:"plan"`
		Signature string `json:"signature"`
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		return nil, errors.New("the request is not a JSON object with the texts plan and signature")
	}
	signature, err := base64.StdEncoding.Strict().DecodeString(envelope.Signature)
	if err != nil || len(signature) != ed25519.SignatureSize || len(key) != ed25519.PublicKeySize {
		return nil, ErrSignature
	}
	if !ed25519.Verify(key, []byte(Context+envelope.Plan), signature) {
		return nil, ErrSignature
	}
	return parsePlan([]byte(envelope.Plan))
}

// parsePlan reads a plan's text. Every number and text of the result is within its bounds.
func parsePlan(text []byte) (*Plan, error) {
	plan := &Plan{}
	if err := json.Unmarshal(text, plan); err != nil {
		return nil, errors.New("the plan is not a JSON object of the known shape")
	}
	if plan.Version != Version {
		return nil, fmt.Errorf("the plan has not version %d", Version)
	}
	if plan.Counter < 1 || plan.Counter > maxSafeCounter {
		return nil, errors.New("the plan's counter is out of bounds")
	}
	if plan.PodUID == "" || len(plan.PodUID) > maxPodUID {
		return nil, errors.New("the plan names no pod")
	}
	if len(plan.Answers) > maxAnswers {
		return nil, fmt.Errorf("the plan has more than %d answers", maxAnswers)
	}
	plan.Server = Printable(plan.Server, maxServerName)
	if plan.Stop != nil {
		plan.Stop.InSeconds = max(-MaxSeconds, min(plan.Stop.InSeconds, MaxSeconds))
		plan.Stop.GracePeriodSeconds = seconds(plan.Stop.GracePeriodSeconds)
		plan.Stop.Reason = Printable(plan.Stop.Reason, MaxReason)
	}
	if plan.Idle.TimeoutSeconds != nil {
		timeout := seconds(*plan.Idle.TimeoutSeconds)
		plan.Idle.TimeoutSeconds = &timeout
	}
	plan.Idle.CPUMillicores = max(1, min(plan.Idle.CPUMillicores, 1_000_000))
	plan.Idle.GPUPercent = max(0, min(plan.Idle.GPUPercent, 100))
	plan.Idle.SSHBytesPerMinute = max(1, min(plan.Idle.SSHBytesPerMinute, 1<<40))
	plan.Limits.ExtendSeconds = seconds(plan.Limits.ExtendSeconds)
	plan.Limits.HoldSeconds = seconds(plan.Limits.HoldSeconds)
	if plan.Hold != nil {
		plan.Hold.SecondsLeft = seconds(plan.Hold.SecondsLeft)
		plan.Hold.Reason = Printable(plan.Hold.Reason, MaxReason)
	}
	for i := range plan.Answers {
		plan.Answers[i].ID = Printable(plan.Answers[i].ID, maxAnswerID)
		plan.Answers[i].Message = Printable(plan.Answers[i].Message, maxMessage)
	}
	return plan, nil
}

func seconds(value int64) int64 { return max(0, min(value, MaxSeconds)) }

// Printable is the text without control characters, at most that many characters: it is shown in terminals.
func Printable(text string, most int) string {
	var out strings.Builder
	count := 0
	for _, char := range strings.ToValidUTF8(text, "?") {
		if count == most {
			break
		}
		// Python's isprintable, which the operator's side uses, refuses the same separators but the space.
		if !unicode.IsPrint(char) {
			char = ' '
		}
		out.WriteRune(char)
		count++
	}
	return out.String()
}
