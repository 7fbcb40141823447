// Package account writes /etc/passwd of a server: the operator's, with the shell that the image has.
package account

import (
	"os"
	"strings"
)

// Store writes `to` from `from` with another shell in the line of dev. The file is written in place, because it is
// mounted by itself.
func Store(from, to, shell string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	lines := strings.SplitAfter(string(text), "\n")
	for at, line := range lines {
		if last := strings.LastIndexByte(line, ':'); last >= 0 && strings.HasPrefix(line, "dev:") {
			lines[at] = line[:last] + ":" + shell + "\n"
		}
	}
	return os.WriteFile(to, []byte(strings.Join(lines, "")), 0o644)
}
