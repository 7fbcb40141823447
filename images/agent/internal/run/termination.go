package run

import (
	"encoding/json"
	"os"

	"devservers.io/agent/internal/agent"
)

// maxTermination is how much goes into the termination message, of which Kubernetes keeps 4 KiB.
const maxTermination = 3 * 1024

// termination is the termination message: how often memory ran out, and as many of the last lines as fit. Why the server
// stops isn't in it: the operator knows, and a pod's word for it would be anybody's.
func termination(ending agent.Ending, lines []string) []byte {
	for from := 0; ; from++ {
		text, err := json.Marshal(struct {
			Lines    []string `json:"lines"`
			OOMKills int      `json:"oomKills"`
		}{append([]string{}, lines[min(from, len(lines)):]...), ending.OOMKills})
		if err == nil && len(text) <= maxTermination {
			return text
		}
		if from >= len(lines) {
			return nil
		}
	}
}

// writeTermination writes the message in place: the file is mounted by itself.
func writeTermination(path string, text []byte) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return
	}
	defer file.Close()
	_, _ = file.Write(text)
}
