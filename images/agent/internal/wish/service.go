package wish

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"devservers.io/agent/internal/duration"
	"devservers.io/agent/internal/local"
	"devservers.io/agent/internal/protocol"
)

const (
	maxRequest    = 4 * 1024
	defaultReason = "asked in the server" // the operator grants no hold without a reason
)

// Request is one line of JSON from the command.
type Request struct {
	Command string `json:"command"` // status, extend, hold, release, answer or run
	Seconds int64  `json:"seconds,omitempty"`
	Reason  string `json:"reason,omitempty"`
	ID      string `json:"id,omitempty"`
}

// Response is one line of JSON to the command.
type Response struct {
	Error  string           `json:"error,omitempty"`
	ID     string           `json:"id,omitempty"`
	Answer *protocol.Answer `json:"answer,omitempty"`
	Status *Status          `json:"status,omitempty"`
}

// Status is what `devserver status` prints.
type Status struct {
	Server        string           `json:"server"` // "" before the first exchange
	PlanAge       int64            `json:"planAgeSeconds"`
	StopInSeconds *int64           `json:"stopInSeconds"`
	StopReason    string           `json:"stopReason"`
	Deletes       bool             `json:"deletes"`
	IdleSeconds   *int64           `json:"idleSeconds"`
	Source        string           `json:"source"`
	Unreadable    []string         `json:"unreadable"`
	Timeout       *int64           `json:"idleTimeoutSeconds"`
	Hold          *protocol.Hold   `json:"hold"`
	Limits        *protocol.Limits `json:"limits"` // nil before the first exchange
	Waiting       []protocol.Wish  `json:"waiting"`
	Runs          int              `json:"runs"`
}

// Service answers the command.
//
// `devserver hold -- COMMAND` keeps its connection open while the command runs: a run, which counts as activity until
// its time is over. Its hold is renewed in steps while it lasts, so that a container that dies leaves a short one. It
// ends with the last run, also when the client is killed; a hold that somebody else asked for meanwhile stays.
type Service struct {
	Queue  *Queue
	Clock  func() time.Duration
	Status func() Status

	mutex   sync.Mutex
	runs    map[net.Conn]time.Duration // until when each counts
	held    string                     // the reason of the hold that the runs asked for; "" for none
	until   time.Duration              // until when that hold was asked for
	renew   time.Duration              // from when on it is asked for anew
	asked   string                     // the id of the last wish of the runs
	own     map[string]bool            // the reasons of such holds, also of one that ended just now
	release string                     // the reason of the hold that is to be released; "" for none
}

// Serve answers until the listener is closed.
func (service *Service) Serve(listener net.Listener) error {
	return local.Serve(listener, maxRequest, service.answer)
}

func (service *Service) answer(conn net.Conn, line []byte) {
	var request Request
	if json.Unmarshal(line, &request) != nil {
		local.Reply(conn, Response{Error: "the request is not one line of JSON"})
		return
	}
	if request.Command != "run" {
		local.Reply(conn, service.respond(request))
		return
	}
	response, started := service.begin(conn, request)
	if !started {
		local.Reply(conn, response)
		return
	}
	defer service.end(conn)
	if !local.Reply(conn, response) {
		return
	}
	_ = conn.SetDeadline(time.Time{})
	_, _ = io.Copy(io.Discard, conn) // until the client closes it or ends
}

func (service *Service) respond(request Request) Response {
	switch request.Command {
	case "status":
		status := service.Status()
		status.Waiting, status.Runs = service.Queue.Waiting(), service.Runs()
		return Response{Status: &status}
	case "answer":
		answer, err := service.Queue.Answer(request.ID)
		if err != nil {
			return Response{Error: err.Error()}
		}
		return Response{ID: request.ID, Answer: answer}
	case protocol.Extend, protocol.HoldWish, protocol.ReleaseWish:
		id, err := service.ask(request)
		if err != nil {
			return Response{Error: err.Error()}
		}
		return Response{ID: id}
	default:
		return Response{Error: "there is no such request; this agent is older than the command"}
	}
}

// ask queues a wish that isn't beyond the limits of the last plan. The operator checks it again.
func (service *Service) ask(request Request) (string, error) {
	status := service.Status()
	if len([]rune(request.Reason)) > protocol.MaxReason {
		return "", fmt.Errorf("the reason is longer than %d characters", protocol.MaxReason)
	}
	seconds, reason := request.Seconds, ""
	if request.Command == protocol.ReleaseWish {
		seconds = 0
	} else if err := within(request, status.Limits); err != nil {
		return "", err
	}
	if request.Command == protocol.HoldWish {
		reason = holdReason(request.Reason)
	}
	id, err := service.Queue.Add(request.Command, seconds, reason)
	if err == nil && request.Command != protocol.Extend {
		service.forget()
	}
	return id, err
}

// within is the error of a request that is beyond the limits; nil limits are left to the operator.
func within(request Request, limits *protocol.Limits) error {
	if limits != nil {
		most, what := limits.ExtendSeconds, "extended by"
		if request.Command == protocol.HoldWish {
			most, what = limits.HoldSeconds, "held for"
		}
		if most == 0 && request.Command == protocol.HoldWish {
			return errors.New("this server can't be held: its flavor or your user allows no hold")
		}
		if most == 0 {
			return errors.New("this server can't be extended now: it has no end, or has the latest that is allowed")
		}
		if request.Seconds > most {
			return fmt.Errorf("this server can be %s at most %s now", what, floor(most))
		}
	}
	if request.Seconds <= 0 || request.Seconds > protocol.MaxSeconds {
		return errors.New("the time is not between a second and ten years")
	}
	return nil
}

// holdReason is a hold's reason as the operator keeps it: with single spaces, and never empty.
func holdReason(text string) string {
	if reason := strings.Join(strings.Fields(protocol.Printable(text, protocol.MaxReason)), " "); reason != "" {
		return reason
	}
	return defaultReason
}

// floor is the time in whole minutes: a limit must not be rounded up.
func floor(seconds int64) string {
	if seconds >= 60 {
		seconds -= seconds % 60
	}
	return duration.Format(seconds)
}
