// Package runs starts a person's named commands beside sshd, and keeps their output and how they ended in the home.
//
// Invariant: a run belongs to the server and not to a connection; it goes on when whoever started it is gone, and its
// record stays when the server was stopped.
package runs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"syscall"
	"time"

	"devservers.io/agent/internal/environment"
)

// States of a run.
const (
	Running = "running"
	Ended   = "ended"
	Lost    = "lost" // the server stopped while it ran
)

const (
	recordFile  = "run.json"
	outputFile  = "output.log"
	ranksFolder = "ranks"
	maxRecord   = 256 * 1024
	// reserved is how many blanks the record of a run in force ends with: its end finds room there when the home is full.
	reserved = 512
	// maxKept is how many records of ended runs are kept; the oldest are deleted when another run starts.
	maxKept = 100
)

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{0,62}$`)

// Record is a run as run.json in its folder has it.
type Record struct {
	Name  string   `json:"name"`
	Argv  []string `json:"argv"`
	Dir   string   `json:"dir"`
	Env   []string `json:"env,omitempty"` // NAME=VALUE, added to the server's environment
	Share bool     `json:"share,omitempty"`
	// Torchrun is how many processes torchrun starts, or "auto" for one a GPU; empty for a plain command.
	Torchrun string `json:"torchrun,omitempty"`
	// Processes is how many torchrun has started. With more than one each line of output begins with its rank.
	Processes int       `json:"processes,omitempty"`
	State     string    `json:"state"`
	Started   time.Time `json:"started"`
	Ended     time.Time `json:"ended,omitzero"`
	// ExitCode is as a shell has it: 128 and more for signals. It counts where State is Ended.
	ExitCode int `json:"exitCode"`
	// Canceled is whether somebody asked for its end.
	Canceled bool `json:"canceled,omitempty"`
}

// Folder holds the records of a home's runs, each in a folder of its name.
type Folder string

// Of is the folder of records in a home.
func Of(home string) Folder { return Folder(filepath.Join(home, ".devservers", "runs")) }

// Output is the path of a run's output.
func (folder Folder) Output(name string) string {
	return filepath.Join(string(folder), name, outputFile)
}

// ranks is where torchrun keeps the output of its processes, each in a file, while it runs.
func (folder Folder) ranks(name string) string {
	return filepath.Join(string(folder), name, ranksFolder)
}

// CheckName is the error of a name that no run may have.
func CheckName(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("%q is no name of a run; use up to 63 lower-case letters, digits, dots, dashes and underscores, a letter or digit first", name)
	}
	return nil
}

// FreeName is a name by the time that no run has yet.
func (folder Folder) FreeName(now time.Time) string {
	base := now.UTC().Format("run-20060102-150405")
	name := base
	for number := 2; ; number++ {
		if _, err := os.Lstat(filepath.Join(string(folder), name)); err != nil {
			return name // also where the home can't be read, which check reports
		}
		name = fmt.Sprintf("%s-%d", base, number)
	}
}

// Read is the record of a run.
func (folder Folder) Read(name string) (Record, error) {
	var record Record
	if err := CheckName(name); err != nil {
		return record, err
	}
	// A FIFO without a writer would block; a person may have put anything there.
	file, err := os.OpenFile(filepath.Join(string(folder), name, recordFile), os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return record, fmt.Errorf("there is no run %s; `devserver runs` lists them", name)
	}
	if err != nil {
		return record, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxRecord) {
		err = errors.New("it is not a record")
	}
	if err == nil {
		err = json.NewDecoder(io.LimitReader(file, maxRecord)).Decode(&record)
	}
	if err == nil {
		err = record.check()
	}
	if err != nil {
		return record, fmt.Errorf("the record of run %s can't be read: %w", name, err)
	}
	record.Name = name
	return record, nil
}

// check is the error of values that no agent of this version writes.
func (record Record) check() error {
	switch {
	case record.State != Running && record.State != Ended && record.State != Lost:
		return fmt.Errorf("there is no state %.40q", record.State)
	case record.ExitCode < 0 || record.ExitCode > 255:
		return fmt.Errorf("%d is no exit code", record.ExitCode)
	case record.Processes < 0 || record.Processes > maxProcesses:
		return fmt.Errorf("%d is no number of processes", record.Processes)
	}
	return nil
}

func nameTaken(name string) error {
	return fmt.Errorf("there is a run %s already; give this one another name", name)
}

// check is the error with which a run of that name can't be created.
func (folder Folder) check(name string) error {
	if _, err := os.Lstat(filepath.Join(string(folder), name)); err == nil {
		return nameTaken(name)
	}
	err := os.MkdirAll(string(folder), 0o700)
	if err == nil {
		var probe *os.File
		if probe, err = os.CreateTemp(string(folder), ".probe-*"); err == nil {
			_, err = probe.WriteString("x")
			probe.Close()
			_ = os.Remove(probe.Name())
		}
	}
	if err != nil {
		return fmt.Errorf("the home can't be written (%v); look at `df -h ~` and `ls -ld ~ ~/.devservers` in the server", err)
	}
	return nil
}

// create makes the folder of a new run. It fails if a run has that name.
func (folder Folder) create(record Record) error {
	if err := folder.check(record.Name); err != nil {
		return err
	}
	place := filepath.Join(string(folder), record.Name)
	if err := os.Mkdir(place, 0o700); err != nil {
		return err
	}
	err := folder.write(record)
	if err != nil {
		_ = os.RemoveAll(place)
	}
	return err
}

// write replaces a record as a whole, or writes it in place where there is no room for another file.
func (folder Folder) write(record Record) error {
	text, err := json.MarshalIndent(record, "", " ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if record.State == Running {
		text = append(text, bytes.Repeat([]byte{' '}, reserved)...)
	}
	if len(text) > maxRecord {
		return fmt.Errorf("the command and its variables are more than %d KiB", maxRecord/1024)
	}
	path := filepath.Join(string(folder), record.Name, recordFile)
	if err = environment.Replace(path, text, 0o600); err != nil {
		if overwrite(path, text) == nil {
			return nil
		}
	}
	return err
}

// List are the records, the newest first; what can't be read is left out.
func (folder Folder) List() []Record {
	entries, _ := os.ReadDir(string(folder))
	var records []Record
	for _, entry := range entries {
		if record, err := folder.Read(entry.Name()); err == nil {
			records = append(records, record)
		}
	}
	sort.SliceStable(records, func(i, j int) bool { return records[i].Started.After(records[j].Started) })
	return records
}

// prune deletes the oldest records that are too many. What runs stays.
func (folder Folder) prune() {
	kept := 0
	for _, record := range folder.List() {
		if kept++; kept > maxKept && record.State != Running {
			_ = os.RemoveAll(filepath.Join(string(folder), record.Name))
		}
	}
}

// shown is the command as one line.
func (record Record) shown() string {
	text := strings.Join(record.Argv, " ")
	if record.Torchrun != "" {
		text = "torchrun " + text
	}
	return text
}
