// Package message writes the agent's own lines to standard error.
package message

import (
	"fmt"
	"os"
)

// Prefix begins each line: `devctl logs` tells the agent's lines from the command's output by it.
const Prefix = "devserver-agent: "

// Say writes one line, with what went wrong if err is not nil.
func Say(text string, err error) {
	if err != nil {
		text += ": " + err.Error()
	}
	// One write, so that a line of the command's never falls into the middle.
	_, _ = os.Stderr.WriteString(Prefix + text + "\n")
}

// Sayf is Say with a format.
func Sayf(format string, values ...any) { Say(fmt.Sprintf(format, values...), nil) }
