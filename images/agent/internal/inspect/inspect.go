// Package inspect prints sshd's log, or what became of the person's command, in any image.
package inspect

import (
	"io"
	"os"

	"devservers.io/agent/internal/paths"
)

// Main is devserver-inspect ssh-log|command.
func Main(arguments []string) int {
	if len(arguments) == 1 {
		switch arguments[0] {
		case "ssh-log":
			return printed(paths.SshdLogOlder, paths.SshdLog)
		case "command":
			return printed(paths.CommandState)
		}
	}
	_, _ = os.Stderr.WriteString("usage: devserver-inspect ssh-log|command\n")
	return 2
}

func printed(files ...string) int {
	for _, path := range files {
		file, err := os.Open(path)
		if err != nil {
			continue
		}
		_, err = io.Copy(os.Stdout, file)
		_ = file.Close()
		if err != nil {
			return 1
		}
	}
	return 0
}
