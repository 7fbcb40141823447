// Package environment keeps the container's environment in a file for the SSH sessions.
//
// The file is separated by NUL, so that every value is possible, and is for this user only. PATH is also kept as a line
// of shell, for /etc/profile of the image to read.
package environment

import (
	"bytes"
	"os"
	"strings"
)

// Store writes an environment. It replaces the file, so that a reader sees one or the other.
func Store(file string, variables []string) error {
	var text bytes.Buffer
	for _, variable := range variables {
		text.WriteString(variable)
		text.WriteByte(0)
	}
	return Replace(file, text.Bytes(), 0o600)
}

// Replace writes a file beside another one and puts it into its place. What a person left there, a FIFO for example, gives
// way.
func Replace(path string, text []byte, mode os.FileMode) error {
	part := path + ".new"
	_ = os.Remove(part)
	file, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		_ = os.Remove(part)
	}
	return err
}

// ofSession tells whether a variable belongs to one session or process: the platform, sshd or the shell sets it.
func ofSession(name string, own map[string]int) bool {
	switch name {
	case "HOME", "USER", "LOGNAME", "SHELL", "PWD", "OLDPWD", "SHLVL", "_":
		return true
	case "TERM":
		// A terminal's own type is better than one that was set for all of them.
		_, set := own[name]
		return set
	}
	return false
}

// Load returns an environment with the kept variables added.
func Load(file string, variables []string) ([]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return variables, err
	}
	variables = append([]string(nil), variables...)
	own := map[string]int{}
	for at, variable := range variables {
		name, _, _ := strings.Cut(variable, "=")
		own[name] = at
	}
	added := map[string]int{}
	for _, variable := range strings.Split(string(text), "\x00") {
		name, _, whole := strings.Cut(variable, "=")
		if !whole || ofSession(name, own) {
			continue
		}
		if at, set := own[name]; set {
			variables[at] = variable
		} else if at, set := added[name]; set {
			variables[at] = variable
		} else {
			added[name] = len(variables)
			variables = append(variables, variable)
		}
	}
	return variables, nil
}

// Value returns a variable of an environment.
func Value(variables []string, name string) string {
	for _, variable := range variables {
		if value, found := strings.CutPrefix(variable, name+"="); found {
			return value
		}
	}
	return ""
}

// With returns an environment in which a variable has a value.
func With(variables []string, name, value string) []string {
	for at, variable := range variables {
		if strings.HasPrefix(variable, name+"=") {
			variables[at] = name + "=" + value
			return variables
		}
	}
	return append(variables, name+"="+value)
}

// StoreProfile writes PATH as a line of shell. The file is written in place, because it is mounted by itself.
func StoreProfile(file, path string, set bool) error {
	text := "# Written at each start. A login shell's /etc/profile sets PATH anew; this is the image's own again.\n"
	if set {
		text += "PATH='" + strings.ReplaceAll(path, "'", `'\''`) + "'\nexport PATH\n"
	}
	return os.WriteFile(file, []byte(text), 0o644)
}
