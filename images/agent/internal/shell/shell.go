// Package shell finds the shell that an image has: bash if there is one, else sh, else none.
package shell

import (
	"path"
	"strings"
	"syscall"
)

var usual = "/bin:/usr/bin:/usr/local/bin"

const executable = 1 // X_OK

// Of returns the path of the image's shell, looked for in the usual folders first, then in searchPath; "" is none.
func Of(searchPath string) string {
	for _, name := range []string{"bash", "sh"} {
		for _, list := range []string{usual, searchPath} {
			if found := look(list, name); found != "" {
				return found
			}
		}
	}
	return ""
}

// look returns the program in one of the folders of a list as in PATH; relative and empty parts are not looked at.
func look(list, name string) string {
	for _, folder := range strings.Split(list, ":") {
		if strings.HasPrefix(folder, "/") && syscall.Access(folder+"/"+name, executable) == nil {
			return folder + "/" + name
		}
	}
	return ""
}

// IsBash tells whether a shell's path is bash's.
func IsBash(shell string) bool { return shell != "" && path.Base(shell) == "bash" }
