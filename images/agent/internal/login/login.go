// Package login is the login shell of every server, whatever its image.
//
// It takes up the container's environment and becomes the image's shell, so that a session of sshd, whose own
// environment is empty, and one of `devctl shell` are the same. In an image without a shell it says so.
package login

import (
	"fmt"
	"io"
	"os"
	"path"
	"syscall"

	"devservers.io/agent/internal/environment"
	"devservers.io/agent/internal/paths"
	"devservers.io/agent/internal/shell"
)

// Main is devserver-login [--login] [-c LINE]; dashed tells whether a dash stood before its own name, which means
// --login as for every shell. It returns only when no shell could be started.
func Main(dashed bool, arguments []string) int {
	login, line := parse(dashed, arguments)
	variables, err := environment.Load(paths.Environment, os.Environ())
	if err != nil {
		fmt.Fprintln(os.Stderr, "devserver-login: the server's variables are not set:", err)
	}
	if line == nil {
		showMotd(paths.Motd, os.Stdout)
	}
	program := shell.Of(environment.Value(variables, "PATH"))
	if program == "" {
		fmt.Fprintln(os.Stderr, "this server's image has no shell: scp, sftp and port forwarding work, and "+
			"`devctl exec NAME -- PROGRAM` runs a program of it")
		return 127
	}
	err = syscall.Exec(program, argv(program, login, line), environment.With(variables, "SHELL", program))
	fmt.Fprintf(os.Stderr, "the shell %s of this server's image can't be started: %v\n", program, err)
	return 126
}

// maxMotd is how much of the message of the day is shown.
const maxMotd = 4096

// showMotd prints the message of the day into a terminal. In a session without one the output may be a protocol.
func showMotd(file string, out *os.File) {
	if info, err := out.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return
	}
	opened, err := os.Open(file)
	if err != nil {
		return
	}
	defer opened.Close()
	_, _ = io.CopyN(out, opened, maxMotd)
}

func parse(login bool, arguments []string) (bool, *string) {
	var line *string
	for at := 0; at < len(arguments); at++ {
		switch {
		case arguments[at] == "--login":
			login = true
		case arguments[at] == "-c" && at+1 < len(arguments):
			at++
			line = &arguments[at]
		}
	}
	return login, line
}

func argv(program string, login bool, line *string) []string {
	name := path.Base(program)
	switch {
	case line != nil && login:
		return []string{name, "-l", "-c", *line}
	case line != nil:
		return []string{name, "-c", *line}
	case login:
		return []string{"-" + name}
	}
	return []string{name}
}
