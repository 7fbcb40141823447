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
	output string // json or name; empty for a table
	stream bool   // frames for devctl, and its words on standard input
	ranks  bool   // the rank before each line
	rank   int    // of this rank alone; -1 for all
	from   int64
}

// arguments are what a command takes: options with a value, options without one, and whether it takes a run's name.
var arguments = map[string]struct {
	values, flags string
	name          bool
}{
	"run":    {values: "--name --dir --env --torchrun --mirror", flags: "--share --detach --stream"},
	"runs":   {values: "-o"},
	"attach": {values: "--from", flags: "--stream", name: true},
	"logs":   {values: "--from --rank", flags: "--ranks", name: true},
	"cancel": {flags: "--kill", name: true},
}

func parse(command string, args []string) (options, error) {
	takes := arguments[command]
	parsed := options{rank: -1}
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
	if parsed.mirror != "" && (!parsed.stream || parsed.run.Dir != "" || CheckName(parsed.mirror) != nil) {
		return parsed, errors.New("--mirror is for devctl: a name, with --stream and without --dir")
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
	case "--stream":
		parsed.stream = true
	case "--ranks":
		parsed.ranks = true
	}
}

func (parsed *options) value(name, value string) error {
	switch name {
	case "--name":
		parsed.run.Name = value
		return CheckName(value)
	case "--mirror":
		parsed.mirror = value
	case "--torchrun":
		parsed.run.Torchrun = value
		_, err := processes(value, 0)
		return err
	case "--rank":
		rank, err := strconv.Atoi(value)
		if err != nil || rank < 0 {
			return fmt.Errorf("%q is no rank", value)
		}
		parsed.rank = rank
	case "--dir":
		parsed.run.Dir = value
	case "--env":
		if variable, _, set := strings.Cut(value, "="); !set || variable == "" {
			return fmt.Errorf("%q is no variable; write NAME=VALUE", value)
		}
		parsed.run.Env = append(parsed.run.Env, value)
	case "-o":
		if value != "json" && value != "name" {
			return fmt.Errorf("there is no output %s; -o takes json or name", value)
		}
		parsed.output = value
	case "--from":
		from, err := strconv.ParseInt(value, 10, 64)
		if err != nil || from < 0 {
			return fmt.Errorf("%q is no number of bytes", value)
		}
		parsed.from = from
	}
	return nil
}
