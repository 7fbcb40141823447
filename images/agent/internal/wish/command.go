package wish

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"devservers.io/agent/internal/duration"
	"devservers.io/agent/internal/protocol"
	"devservers.io/agent/internal/warn"
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
  devserver help                        print this

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
	return client{Socket, os.Stdout, os.Stderr, waitTime, 500 * time.Millisecond}.main(args)
}

type options struct {
	seconds int64
	reason  string
	wait    bool
	command []string
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

func parse(name string, args []string) (options, error) {
	var parsed options
	var times []string
	timed := map[string]bool{protocol.Extend: true, protocol.HoldWish: true}
	if !timed[name] && name != protocol.ReleaseWish && name != "status" {
		return parsed, fmt.Errorf("there is no command %q; `devserver help` lists them", name)
	}
	for i := 0; i < len(args); i++ {
		arg := args[i]
		value, joined := strings.CutPrefix(arg, "--reason=")
		switch {
		case arg == "--" && name == protocol.HoldWish:
			if parsed.command = args[i+1:]; len(parsed.command) == 0 {
				return parsed, errors.New("there is no command after --")
			}
			i = len(args)
		case arg == "--wait" && name != "status":
			parsed.wait = true
		case (arg == "--reason" || joined) && name == protocol.HoldWish:
			if !joined {
				if i++; i == len(args) {
					return parsed, errors.New("--reason needs a text")
				}
				value = args[i]
			}
			parsed.reason = value
		case strings.HasPrefix(arg, "-"):
			return parsed, fmt.Errorf("`devserver %s` has no option %s", name, arg)
		default:
			times = append(times, arg)
		}
	}
	if timed[name] && len(times) == 1 {
		seconds, err := duration.Parse(times[0])
		if err != nil {
			return parsed, err
		}
		parsed.seconds = seconds
		return parsed, nil
	}
	if timed[name] && len(times) == 0 && parsed.command == nil {
		return parsed, fmt.Errorf("`devserver %s` needs a time, such as 2h", name)
	}
	if len(times) > 0 {
		return parsed, fmt.Errorf("`devserver %s` takes no further argument: %q", name, times[len(times)-1])
	}
	return parsed, nil
}

// call sends one request and returns its response, and the connection if it is to stay open.
func (client client) call(request Request, keep bool) (Response, net.Conn, error) {
	unreachable := errors.New("the server's agent can't be reached at " + client.socket)
	conn, err := net.DialTimeout("unix", client.socket, requestTimeout)
	if err != nil {
		return Response{}, nil, unreachable
	}
	_ = conn.SetDeadline(time.Now().Add(requestTimeout))
	text, _ := json.Marshal(request)
	var response Response
	_, err = conn.Write(append(text, '\n'))
	if err == nil {
		var line []byte
		if line, err = bufio.NewReader(conn).ReadBytes('\n'); err == nil {
			err = json.Unmarshal(line, &response)
		}
	}
	if err != nil {
		conn.Close()
		return Response{}, nil, unreachable
	}
	if response.Error != "" || !keep {
		conn.Close()
		return response, nil, nil
	}
	_ = conn.SetDeadline(time.Time{})
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

// run starts the command when the agent knows of it, and ends with its exit code.
func (client client) run(options options) int {
	reason := options.reason
	if reason == "" {
		reason = "runs " + options.command[0]
		reason = protocol.Printable(reason, protocol.MaxReason)
	}
	response, conn, err := client.call(Request{Command: "run", Seconds: options.seconds, Reason: reason}, true)
	if err == nil && response.Error != "" {
		return client.fail(exitRefused, errors.New(response.Error+"; the command was not started"))
	}
	if err != nil {
		return client.fail(exitNoAnswer, fmt.Errorf("%w; the command was not started", err))
	}
	defer conn.Close()
	// A terminal sends Ctrl-C to both; the command decides whether it ends.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP)
	command := exec.Command(options.command[0], options.command[1:]...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, client.out, client.err
	if err := command.Start(); err != nil {
		client.fail(0, fmt.Errorf("%s can't be started: %w", options.command[0], errors.Unwrap(err)))
		if errors.Is(err, os.ErrPermission) {
			return 126
		}
		return 127
	}
	if response.ID != "" {
		go client.watch(response.ID)
	}
	go func() {
		for received := range signals {
			if received == syscall.SIGTERM || received == syscall.SIGHUP {
				_ = command.Process.Signal(received)
			}
		}
	}()
	_ = command.Wait()
	if status, ok := command.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return command.ProcessState.ExitCode()
}

// watch says when the hold of a running command is refused; the command goes on.
func (client client) watch(id string) {
	for deadline := time.Now().Add(client.wait); time.Now().Before(deadline); time.Sleep(client.pause) {
		response, _, err := client.call(Request{Command: "answer", ID: id}, false)
		if err != nil || response.Error != "" {
			return
		}
		if answer := response.Answer; answer != nil {
			if !answer.Accepted {
				fmt.Fprintf(client.err, "devserver: the hold is refused: %s; the command goes on and counts as activity\n", answer.Message)
			}
			return
		}
	}
}

func (client client) status() int {
	response, _, err := client.call(Request{Command: "status"}, false)
	if err != nil {
		return client.fail(exitNoAnswer, err)
	}
	if response.Error != "" || response.Status == nil {
		return client.fail(exitRefused, errors.New(response.Error))
	}
	for _, line := range describe(*response.Status) {
		fmt.Fprintln(client.out, line)
	}
	return exitOK
}

var names = map[string]string{
	protocol.Terminal: "terminal input", protocol.SSH: "SSH traffic", protocol.CPU: "processor time", protocol.GPU: "GPU",
	protocol.Run: "`devserver hold -- COMMAND`", protocol.Held: "a hold", protocol.Start: "the start", protocol.Unknown: "not known",
}

func describe(status Status) []string {
	line := func(name, format string, values ...any) string {
		return fmt.Sprintf("%-8s %s", name, fmt.Sprintf(format, values...))
	}
	var lines []string
	if status.Server == "" {
		lines = append(lines, line("server", "the operator has not sent a plan yet"))
	} else {
		lines = append(lines, line("server", "%s (planned %s ago)", status.Server, duration.Format(status.PlanAge)))
		switch {
		case status.StopInSeconds == nil:
			lines = append(lines, line("stop", "none is planned"))
		default:
			verb, when := "stops", "now"
			if status.Deletes {
				verb = "is deleted"
			}
			if *status.StopInSeconds > 0 {
				when = "in " + duration.Format(*status.StopInSeconds)
			}
			lines = append(lines, line("stop", "%s %s: %s", verb, when, warn.Phrase(status.StopReason)))
		}
	}
	idle := "not known, counts as active: " + strings.Join(status.Unreadable, ", ") + " can't be read"
	if status.IdleSeconds != nil {
		idle = fmt.Sprintf("%s, last activity: %s", duration.Format(*status.IdleSeconds), names[status.Source])
	}
	if status.Timeout != nil {
		idle += fmt.Sprintf("; stops when idle for %s", duration.Format(*status.Timeout))
	}
	lines = append(lines, line("idle", "%s", idle))
	if status.Hold != nil {
		hold := duration.Format(status.Hold.SecondsLeft) + " left"
		if status.Hold.Reason != "" {
			hold += ": " + status.Hold.Reason
		}
		lines = append(lines, line("hold", "%s", hold))
	}
	if status.Runs > 0 {
		lines = append(lines, line("runs", "%d", status.Runs))
	}
	if status.Limits != nil {
		lines = append(lines, line("limits", "can be extended %s, held %s", most("by", status.Limits.ExtendSeconds), most("for", status.Limits.HoldSeconds)))
	}
	for _, wish := range status.Waiting {
		text := wish.Kind
		if wish.Seconds > 0 {
			text += " " + duration.Format(wish.Seconds)
		}
		lines = append(lines, line("asked", "%s, waits for the operator", text))
	}
	return lines
}

// most is a limit of the platform: `by 2h`, or that there is none.
func most(word string, seconds int64) string {
	if seconds >= protocol.MaxSeconds {
		return "without a limit"
	}
	return word + " " + floor(seconds)
}
