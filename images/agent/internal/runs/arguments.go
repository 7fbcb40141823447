package runs

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

type options struct {
	run    Record
	mirror string
	detach bool
	kill   bool
	json   bool
	end    bool // print how the run ended, as JSON
	from   int64
}

// arguments are what a command takes: options with a value, options without one, and whether it takes a run's name.
var arguments = map[string]struct {
	values, flags string
	name          bool
}{
	"run":    {values: "--name --dir --env --mirror", flags: "--share --detach --end"},
	"runs":   {values: "-o"},
	"attach": {values: "--from", flags: "--end", name: true},
	"logs":   {values: "--from", name: true},
	"cancel": {flags: "--kill", name: true},
}

func parse(command string, args []string) (options, error) {
	takes := arguments[command]
	var parsed options
	for at := 0; at < len(args); at++ {
		name, value, joined := strings.Cut(args[at], "=")
		switch {
		case name == "--" && command == "run":
			parsed.run.Argv = args[at+1:]
			at = len(args)
		case has(takes.flags, name) && !joined:
			parsed.flag(name)
		case has(takes.values, name):
			if !joined {
				if at++; at == len(args) {
					return parsed, fmt.Errorf("%s needs a value", name)
				}
				value = args[at]
			}
			if err := parsed.value(name, value); err != nil {
				return parsed, err
			}
		case strings.HasPrefix(name, "-"):
			return parsed, fmt.Errorf("`devserver %s` has no option %s", command, args[at])
		case takes.name && parsed.run.Name == "":
			parsed.run.Name = args[at]
		default:
			return parsed, fmt.Errorf("`devserver %s` takes no further argument: %q", command, args[at])
		}
	}
	if parsed.mirror != "" && (parsed.run.Name == "" || parsed.run.Dir != "") {
		return parsed, errors.New("--mirror needs --name, and makes the folder itself: leave --dir out")
	}
	if command == "run" && len(parsed.run.Argv) == 0 {
		return parsed, errors.New("there is no command; write it after --")
	}
	if takes.name {
		return parsed, CheckName(parsed.run.Name)
	}
	return parsed, nil
}

func has(names, name string) bool {
	for _, each := range strings.Fields(names) {
		if each == name {
			return true
		}
	}
	return false
}

func (parsed *options) flag(name string) {
	switch name {
	case "--share":
		parsed.run.Share = true
	case "--detach":
		parsed.detach = true
	case "--kill":
		parsed.kill = true
	case "--end":
		parsed.end = true
	}
}

func (parsed *options) value(name, value string) error {
	switch name {
	case "--name":
		parsed.run.Name = value
		return CheckName(value)
	case "--mirror":
		parsed.mirror = value
	case "--dir":
		parsed.run.Dir = value
	case "--env":
		if variable, _, set := strings.Cut(value, "="); !set || variable == "" {
			return fmt.Errorf("%q is no variable; write NAME=VALUE", value)
		}
		parsed.run.Env = append(parsed.run.Env, value)
	case "-o":
		if value != "json" {
			return fmt.Errorf("there is no output %s; -o takes json", value)
		}
		parsed.json = true
	case "--from":
		from, err := strconv.ParseInt(value, 10, 64)
		if err != nil || from < 0 {
			return fmt.Errorf("%q is no number of bytes", value)
		}
		parsed.from = from
	}
	return nil
}
