// devserver-agent is the program of every dev server, in any image: the first process of its pod, its login shell, and
// what brings both into the pod. The name it is called by decides (links in /opt/devservers/bin).
package main

import (
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"devservers.io/agent/internal/inspect"
	"devservers.io/agent/internal/install"
	"devservers.io/agent/internal/login"
	"devservers.io/agent/internal/message"
	"devservers.io/agent/internal/paths"
	"devservers.io/agent/internal/run"
	"devservers.io/agent/internal/runs"
	"devservers.io/agent/internal/sshd"
	"devservers.io/agent/internal/wish"
)

const usage = `usage: devserver-agent run [--ssh] [--grace SECONDS] [-- COMMAND [ARGUMENT ...]]
       devserver-agent answers SECONDS
       devserver-agent install TARGET RUN
`

func main() {
	name, arguments := os.Args[0], os.Args[1:]
	dashed := strings.HasPrefix(name, "-")
	switch path.Base(strings.TrimPrefix(name, "-")) {
	case "devserver-login":
		os.Exit(login.Main(dashed, arguments))
	case "devserver-inspect":
		os.Exit(inspect.Main(arguments))
	case "devserver":
		if len(arguments) > 0 && runs.Commands[arguments[0]] {
			os.Exit(runs.Main(arguments))
		}
		os.Exit(wish.Main(arguments))
	}
	os.Exit(command(arguments))
}

func command(arguments []string) int {
	switch {
	case len(arguments) >= 1 && arguments[0] == "run":
		options, err := run.Parse(arguments[1:])
		if err != nil {
			return wrong(err.Error())
		}
		options.Service = startLifecycle
		return run.Main(options)
	case len(arguments) == 2 && arguments[0] == "answers":
		seconds, err := strconv.ParseUint(arguments[1], 10, 31)
		if err != nil {
			return wrong(arguments[1] + " is no number of seconds")
		}
		if err := sshd.Await(time.Duration(seconds) * time.Second); err != nil {
			message.Say(err.Error(), nil)
			return 1
		}
		return 0
	case len(arguments) == 3 && arguments[0] == "install":
		if err := install.Main(paths.Root, arguments[1], arguments[2]); err != nil {
			fmt.Fprintln(os.Stderr, "install:", err)
			return 1
		}
		return 0
	}
	return wrong("")
}

func wrong(what string) int {
	if what != "" {
		what = message.Prefix + what + "\n"
	}
	_, _ = os.Stderr.WriteString(what + usage)
	return 2
}
