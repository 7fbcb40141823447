package runs

import (
	"encoding/json"
	"net"

	"devservers.io/agent/internal/local"
)

// maxRequest is how many bytes a request may have: a command line and variables among them.
const maxRequest = 256 * 1024

// Request is one line of JSON from the command.
type Request struct {
	Command string `json:"command"` // start, check, cancel or ended
	Run     Record `json:"run"`     // of start and check; of the others the name alone
	Kill    bool   `json:"kill,omitempty"`
}

// Response is one line of JSON to the command.
type Response struct {
	Error string `json:"error,omitempty"`
	Name  string `json:"name,omitempty"`
	// Record is that of a run that has ended and whose end the home doesn't have yet.
	Record *Record `json:"record,omitempty"`
}

// Serve answers until the listener is closed.
func (registry *Registry) Serve(listener net.Listener) error {
	return local.Serve(listener, maxRequest, func(conn net.Conn, line []byte) { local.Reply(conn, registry.respond(line)) })
}

func (registry *Registry) respond(line []byte) Response {
	var request Request
	if json.Unmarshal(line, &request) != nil {
		return Response{Error: "the request is not one line of JSON, or more than it may be"}
	}
	switch request.Command {
	case "start":
		record, err := registry.Start(request.Run)
		if err != nil {
			return Response{Error: err.Error()}
		}
		return Response{Name: record.Name}
	case "check":
		name, err := registry.Check(request.Run)
		if err != nil {
			return Response{Error: err.Error()}
		}
		return Response{Name: name}
	case "cancel":
		if err := registry.Cancel(request.Run.Name, request.Kill); err != nil {
			return Response{Error: err.Error()}
		}
		return Response{Name: request.Run.Name}
	case "ended":
		if record, has := registry.Ended(request.Run.Name); has {
			return Response{Name: record.Name, Record: &record}
		}
		return Response{Name: request.Run.Name}
	default:
		return Response{Error: "there is no such request; this agent is older than the command"}
	}
}
