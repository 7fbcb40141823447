package wish

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"devservers.io/agent/internal/local"
	"devservers.io/agent/internal/paths"
	"devservers.io/agent/internal/runs"
)

// Exit codes of the command.
const (
	exitOK       = 0
	exitRefused  = 1
	exitUsage    = 2
	exitNoAnswer = 3
)

const (
	usage = `devserver: what this server is asked to do, from inside it

  devserver status                      when it stops and why, since when it is idle, the hold in force
  devserver extend TIME [--wait]        ask to stop later by TIME
  devserver hold TIME [--reason TEXT] [--wait]
                                        ask that neither idleness nor working hours stop it for TIME
  devserver hold [TIME] [--reason TEXT] -- COMMAND [ARG...]
                                        run COMMAND and hold the server until it ends, for at most TIME;
                                        a download that nobody watches needs it: devserver hold -- wget URL
  devserver release [--wait]            ask to end the hold
` + runs.Usage + `  devserver help                        print this

TIME is days, hours, minutes and seconds like 2h30m or 1d. The operator answers within a minute; --wait waits for it.
`
	waitTime = 150 * time.Second
)

// client is the command with what it reaches, so that tests can replace it.
type client struct {
	socket string
	out    io.Writer
	err    io.Writer
	wait   time.Duration
	pause  time.Duration
}

// Main is the command `devserver`; args are without its name.
func Main(args []string) int {
	return client{paths.AgentSocket, os.Stdout, os.Stderr, waitTime, 500 * time.Millisecond}.main(args)
}

func (client client) main(args []string) int {
	if len(args) == 0 {
		fmt.Fprint(client.err, usage)
		return exitUsage
	}
	name := args[0]
	if name == "help" || name == "--help" || name == "-h" {
		fmt.Fprint(client.out, usage)
		return exitOK
	}
	options, err := parse(name, args[1:])
	if err != nil {
		return client.fail(exitUsage, err)
	}
	switch {
	case name == "status":
		return client.status()
	case len(options.command) > 0:
		return client.run(options)
	default:
		return client.ask(name, options)
	}
}

func (client client) fail(code int, err error) int {
	fmt.Fprintf(client.err, "devserver: %s\n", err)
	return code
}

// call sends one request and returns its response, and the connection if it is to stay open.
func (client client) call(request Request, keep bool) (Response, net.Conn, error) {
	var response Response
	conn, err := local.Call(client.socket, request, &response)
	if err != nil {
		return response, nil, err
	}
	if response.Error != "" || !keep {
		conn.Close()
		return response, nil, nil
	}
	return response, conn, nil
}

func (client client) ask(kind string, options options) int {
	response, _, err := client.call(Request{Command: kind, Seconds: options.seconds, Reason: options.reason}, false)
	if err != nil {
		return client.fail(exitNoAnswer, err)
	}
	if response.Error != "" {
		return client.fail(exitRefused, errors.New(response.Error))
	}
	if !options.wait {
		fmt.Fprintln(client.out, "asked; the operator answers within a minute, `devserver status` shows what is in force")
		return exitOK
	}
	fmt.Fprintln(client.out, "asked; waiting for the operator's answer")
	for deadline := time.Now().Add(client.wait); time.Now().Before(deadline); time.Sleep(client.pause) {
		answer, _, err := client.call(Request{Command: "answer", ID: response.ID}, false)
		if err != nil {
			return client.fail(exitNoAnswer, err)
		}
		if answer.Error != "" {
			return client.fail(exitNoAnswer, errors.New(answer.Error))
		}
		if answer.Answer == nil {
			continue
		}
		if answer.Answer.Accepted {
			fmt.Fprintln(client.out, "accepted: "+answer.Answer.Message)
			return exitOK
		}
		fmt.Fprintln(client.err, "devserver: refused: "+answer.Answer.Message)
		return exitRefused
	}
	return client.fail(exitNoAnswer, errors.New("no answer yet; the request stays and `devserver status` shows it"))
}
