package wish

import (
	"errors"
	"fmt"
	"strings"

	"devservers.io/agent/internal/duration"
	"devservers.io/agent/internal/protocol"
)

type options struct {
	seconds int64
	reason  string
	wait    bool
	command []string
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
