package run

import (
	"errors"
	"strconv"
	"time"

	"devservers.io/agent/internal/agent"
)

const defaultGrace = 120 * time.Second

// Options are the arguments of `devserver-agent run`.
type Options struct {
	SSH     bool
	Grace   time.Duration
	Command []string
	// Service starts what runs beside sshd and the command; nil is nothing.
	Service func(agent.Host) (agent.Service, error)
}

// Parse reads [--ssh] [--grace SECONDS] [-- COMMAND [ARGUMENT ...]].
func Parse(arguments []string) (Options, error) {
	options := Options{Grace: defaultGrace}
	for at := 0; at < len(arguments); at++ {
		switch arguments[at] {
		case "--":
			options.Command = arguments[at+1:]
			return options, nil
		case "--ssh":
			options.SSH = true
		case "--grace":
			at++
			if at == len(arguments) {
				return options, errors.New("--grace wants a number of seconds")
			}
			seconds, err := strconv.ParseUint(arguments[at], 10, 31)
			if err != nil {
				return options, errors.New("--grace " + arguments[at] + " is no number of seconds")
			}
			options.Grace = time.Duration(seconds) * time.Second
		default:
			return options, errors.New("unknown argument " + arguments[at])
		}
	}
	return options, nil
}
