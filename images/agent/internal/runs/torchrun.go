package runs

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// maxProcesses is how many processes of torchrun one server has at most.
const maxProcesses = 128

//go:embed launch.py
var launchScript string

// processes parses how many processes torchrun is to start; auto is one a GPU.
func processes(text string, gpus int) (int, error) {
	if text == "auto" {
		return max(gpus, 1), nil
	}
	count, err := strconv.Atoi(text)
	if err != nil || count < 1 || count > maxProcesses {
		return 0, fmt.Errorf("%q is no number of processes; it is 1 to %d, or auto", text, maxProcesses)
	}
	return count, nil
}

// torchrun is the command line that starts a script in so many processes. While they run, it keeps their output in the
// folder logs too, which it never deletes; by itself it would make one in /tmp, beside the home.
//
// torchrun itself ends with 1 whatever the script ended with, so its own Python runs it within launch.py, which ends
// with the code of the first process that failed.
func torchrun(processes int, logs string, script []string) (launch, error) {
	program, err := exec.LookPath("torchrun")
	if err != nil {
		return launch{}, errors.New("the image of this server has no torchrun; use an image with PyTorch, or start the script without it (--no-torchrun)")
	}
	// The server's own address: its name may not resolve, and torchrun would ask for it for minutes.
	options := []string{"--standalone", "--local-addr=127.0.0.1", "--nproc-per-node=" + strconv.Itoa(processes), "--log-dir=" + logs}
	var env []string
	if processes > 1 {
		options = append(options, "--tee=3")
		env = append(env, "TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE=[${rank}] ")
	}
	command := []string{program}
	if python := interpreter(program); python != "" {
		command = []string{python, "-c", launchScript}
	}
	return launch{Argv: append(append(command, options...), script...), Env: env}, nil
}

// interpreter is the Python that a script names in its first line; empty if that is something else.
func interpreter(script string) string {
	file, err := os.Open(script)
	if err != nil {
		return ""
	}
	defer file.Close()
	line, _ := bufio.NewReader(file).ReadString('\n')
	words := strings.Fields(strings.TrimPrefix(line, "#!"))
	if !strings.HasPrefix(line, "#!") || len(words) == 0 {
		return ""
	}
	python := words[len(words)-1]
	if filepath.Base(words[0]) == "env" && len(words) == 2 {
		if python, err = exec.LookPath(words[1]); err != nil {
			return ""
		}
	} else if len(words) != 1 {
		return ""
	}
	if !strings.HasPrefix(filepath.Base(python), "python") {
		return ""
	}
	return python
}
