package runs

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"devservers.io/agent/internal/procfs"
)

// runVariable is set in every process of a run to the run's name.
const runVariable = "DEVSERVERS_RUN"

// maxRounds is how often the processes of a run are looked for: each may have started another one meanwhile.
const maxRounds = 20

// killMembers kills all processes of a run, those with a session of their own too, as torchrun's are.
func killMembers(name string) {
	for range maxRounds {
		found := members("/proc", name)
		for _, pid := range found {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if len(found) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// members are the processes whose environment has the run's name. One that has ended has none.
func members(proc, name string) []int {
	var found []int
	for _, process := range procfs.Processes(proc) {
		variables, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(process.ID), "environ"))
		if err != nil {
			continue
		}
		for _, variable := range bytes.Split(variables, []byte{0}) {
			if string(variable) == runVariable+"="+name {
				found = append(found, process.ID)
				break
			}
		}
	}
	return found
}
