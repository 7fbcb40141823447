package runs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"

	"devservers.io/agent/internal/local"
	"devservers.io/agent/internal/paths"
)

// Exit codes of the command where it has none of a run.
const (
	exitRefused  = 1
	exitUsage    = 2
	exitNoAnswer = 3
	exitCut      = 255 // it stopped following a run that goes on
)

// Usage is what `devserver help` prints of this package's commands.
const Usage = `  devserver run [--name RUN] [--dir FOLDER] [--env NAME=VALUE] [--share] [--detach] -- COMMAND [ARG...]
                                        run COMMAND; it goes on when this terminal is closed, and keeps the server awake
                                        (--torchrun N: COMMAND is a script that torchrun starts N times; auto: once a GPU)
  devserver runs [-o json|name]         the runs of this home
  devserver attach RUN [--from BYTE]    follow a run's output to its end; Ctrl-C ends the run, a second one at once
  devserver logs RUN [--rank N]         what a run has printed so far, or one of its ranks
  devserver cancel RUN [--kill]         ask a run to end as Ctrl-C does, or end it at once
`

// client is the command with what it reaches, so that tests can replace it.
type client struct {
	socket string
	home   string
	folder Folder
	in     io.Reader
	out    io.Writer
	err    io.Writer
}

// Commands are the commands of `devserver` that Main has.
var Commands = map[string]bool{"run": true, "runs": true, "attach": true, "logs": true, "cancel": true}

// Main is the command `devserver` for runs; args begin with one of Commands.
func Main(args []string) int {
	return client{paths.RunsSocket, paths.Home, Of(paths.Home), os.Stdin, os.Stdout, os.Stderr}.main(args)
}

func (client client) main(args []string) int {
	options, err := parse(args[0], args[1:])
	if err != nil {
		return client.fail(exitUsage, err)
	}
	switch args[0] {
	case "run":
		return client.run(options)
	case "runs":
		return client.list(options.output)
	case "attach":
		if options.stream {
			return client.stream().follow(options.run.Name, options.from)
		}
		return client.attach(options.run.Name, options.from)
	case "logs":
		return client.logs(options)
	default:
		return client.cancel(options.run.Name, options.kill)
	}
}

func (client client) fail(code int, err error) int {
	fmt.Fprintf(client.err, "devserver: %s\n", err)
	return code
}

// call asks the agent; the error has the exit code for it, exitRefused where the agent itself refuses.
func (client client) call(request Request) (Response, int, error) {
	var response Response
	conn, err := local.Call(client.socket, request, &response)
	if err != nil {
		return response, exitNoAnswer, err
	}
	conn.Close()
	if response.Error != "" {
		return response, exitRefused, errors.New(response.Error)
	}
	return response, 0, nil
}

func (client client) ask(request Request) (Response, int) {
	response, code, err := client.call(request)
	if err != nil {
		return response, client.fail(code, err)
	}
	return response, 0
}

func (client client) run(options options) int {
	if options.stream {
		return client.stream().run(options)
	}
	if options.run.Dir == "" {
		folder, err := os.Getwd()
		if err != nil {
			return client.fail(exitRefused, err)
		}
		options.run.Dir = folder
	}
	response, code := client.ask(Request{Command: "start", Run: options.run})
	if code != 0 {
		return code
	}
	if options.detach {
		fmt.Fprintln(client.out, response.Name)
		return 0
	}
	fmt.Fprintf(client.err, "run %s\n", response.Name)
	return client.attach(response.Name, 0)
}

// attach follows a run and ends with its exit code. Ctrl-C ends the run, a second one at once; SIGTERM and SIGHUP end
// the following alone.
func (client client) attach(name string, from int64) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	interrupts := make(chan os.Signal, 8)
	signal.Notify(interrupts, syscall.SIGINT)
	defer signal.Stop(interrupts)
	var asked atomic.Bool
	go func() {
		for range interrupts {
			kill := asked.Swap(true)
			if kill {
				fmt.Fprintf(client.err, "devserver: ending run %s at once\n", name)
			} else {
				fmt.Fprintf(client.err, "devserver: asking run %s to end; Ctrl-C again ends it at once\n", name)
			}
			client.ask(Request{Command: "cancel", Run: Record{Name: name}, Kill: kill})
		}
	}()
	record, err := client.folder.Follow(ctx, client.out, name, from, client.ended)
	if errors.Is(err, context.Canceled) {
		fmt.Fprintf(client.err, "devserver: run %s goes on; `devserver attach %s` follows it\n", name, name)
		return exitCut
	}
	if err != nil {
		return client.fail(exitNoAnswer, err)
	}
	if record.State == Lost {
		return client.fail(exitNoAnswer, fmt.Errorf("run %s was lost: the server stopped while it ran", name))
	}
	return record.ExitCode
}

func (client client) logs(options options) int {
	name := options.run.Name
	record, err := client.folder.Read(name)
	if err != nil {
		return client.fail(exitRefused, err)
	}
	if last := max(record.Processes, 1) - 1; options.rank > last {
		return client.fail(exitRefused, fmt.Errorf("run %s has no rank %d; the last is %d", name, options.rank, last))
	}
	file, err := os.Open(client.folder.Output(name))
	if err == nil {
		defer file.Close()
		if _, err = file.Seek(options.from, io.SeekStart); err == nil {
			_, err = io.Copy(ranked(client.out, record, options), file)
		}
	}
	if err != nil {
		return client.fail(exitRefused, err)
	}
	return 0
}

func (client client) cancel(name string, kill bool) int {
	_, code := client.ask(Request{Command: "cancel", Run: Record{Name: name}, Kill: kill})
	return code
}

// ended is what the agent knows of a run's end that the home doesn't have yet.
func (client client) ended(name string) (Record, bool) {
	response, _, err := client.call(Request{Command: "ended", Run: Record{Name: name}})
	if err != nil || response.Record == nil {
		return Record{}, false
	}
	return *response.Record, true
}

func (client client) list(output string) int {
	records := client.folder.List()
	for at, record := range records {
		if record.State == Running {
			if end, has := client.ended(record.Name); has {
				records[at] = end
			}
		}
	}
	if output == "name" {
		for _, record := range records {
			fmt.Fprintln(client.out, record.Name)
		}
		return 0
	}
	if output == "json" {
		shown := []listed{}
		for _, record := range records {
			shown = append(shown, record.listed())
		}
		encoder := json.NewEncoder(client.out)
		encoder.SetIndent("", " ")
		_ = encoder.Encode(shown)
		return 0
	}
	table := tabwriter.NewWriter(client.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "RUN\tSTATE\tSTARTED (UTC)\tTOOK\tCOMMAND")
	for _, record := range records {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n",
			record.Name, record.state(), record.Started.UTC().Format("2006-01-02 15:04:05"), record.took(time.Now()), short(record.shown()))
	}
	_ = table.Flush()
	return 0
}

// listed is a record as `devserver runs -o json` prints it: always with all fields. devctl prints the same of a server
// that is stopped (cli/devctl/resources/runs/kept.py).
type listed struct {
	Record
	Env       []string   `json:"env"`
	Share     bool       `json:"share"`
	Torchrun  string     `json:"torchrun"`
	Processes int        `json:"processes"`
	Ended     *time.Time `json:"ended"` // null while it runs
	Canceled  bool       `json:"canceled"`
}

func (record Record) listed() listed {
	shown := listed{record, append([]string{}, record.Env...), record.Share, record.Torchrun, record.Processes, nil, record.Canceled}
	if !record.Ended.IsZero() {
		shown.Ended = &record.Ended
	}
	return shown
}

// state is the state with the exit code.
func (record Record) state() string {
	switch {
	case record.State != Ended:
		return record.State
	case record.Canceled:
		return fmt.Sprintf("canceled (exit %d)", record.ExitCode)
	case record.ExitCode != 0:
		return fmt.Sprintf("failed (exit %d)", record.ExitCode)
	}
	return "succeeded"
}

func (record Record) took(now time.Time) string {
	if record.State != Running {
		now = record.Ended
	}
	return now.Sub(record.Started).Truncate(time.Second).String()
}

// short is a command as one line of a table, without what a terminal would act on.
func short(text string) string {
	const most = 80
	text = strings.Join(strings.Fields(strings.Map(func(char rune) rune {
		if char < ' ' || char == 0x7f || (char >= 0x80 && char < 0xa0) {
			return ' '
		}
		return char
	}, text)), " ")
	if characters := []rune(text); len(characters) > most {
		return string(characters[:most-1]) + "…"
	}
	return text
}
