package runs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"devservers.io/agent/internal/environment"
	"devservers.io/agent/internal/process"
)

// Registry starts runs and knows which of them go on.
type Registry struct {
	Folder Folder
	Reaper *process.Reaper
	// GPUs is how many the server has. With any, one run at a time has them unless it shares them.
	GPUs int
	// Replicas is how many pods the server has, 0 unless it is distributed. A run is of one pod.
	Replicas int
	Say      func(text string, err error)
	Go       func(name string, run func())
	Now      func() time.Time

	// starts lets one start after the other look at the home, which may hang; mutex is never held meanwhile.
	starts    sync.Mutex
	mutex     sync.Mutex
	running   map[string]*run
	unwritten map[string]Record // of runs that have ended, until the home has them
	recent    []Record          // the newest first, at most maxRecent
	stopping  bool
}

// maxRecent is how many runs are kept in memory for what is asked often.
const maxRecent = 10

type run struct {
	record  Record
	process *process.Process
}

// Recover marks what ran when the server stopped as lost. It is called once, before anything starts.
func (registry *Registry) Recover() {
	records := registry.Folder.List()
	for at := range records {
		record := &records[at]
		if record.State != Running {
			continue
		}
		record.State, record.Ended = Lost, registry.lastOutput(*record)
		_ = os.RemoveAll(registry.Folder.ranks(record.Name))
		if err := registry.Folder.write(*record); err != nil {
			lost := *record
			registry.hold(lost)
			registry.Go("the record of run "+lost.Name, func() { registry.write(lost) })
		}
	}
	registry.mutex.Lock()
	defer registry.mutex.Unlock()
	registry.recent = records[:min(len(records), maxRecent)]
}

// Recent are the last runs, the newest first.
func (registry *Registry) Recent() []Record {
	registry.mutex.Lock()
	defer registry.mutex.Unlock()
	return slices.Clone(registry.recent)
}

// remember keeps a record among the recent ones.
func (registry *Registry) remember(record Record) {
	for at := range registry.recent {
		if registry.recent[at].Name == record.Name {
			registry.recent[at] = record
			return
		}
	}
	kept := append([]Record{record}, registry.recent...)
	registry.recent = kept[:min(len(kept), maxRecent)]
}

// lastOutput is when a run printed something last, or its start.
func (registry *Registry) lastOutput(record Record) time.Time {
	info, err := os.Stat(registry.Folder.Output(record.Name))
	if err != nil || info.ModTime().Before(record.Started) {
		return record.Started
	}
	return info.ModTime().UTC()
}

// Start starts a run and returns its record; an empty name is replaced by one of the time.
func (registry *Registry) Start(asked Record) (Record, error) {
	registry.starts.Lock()
	defer registry.starts.Unlock()
	record, launch, err := registry.plan(asked)
	if err == nil {
		err = checkDir(record.Dir)
	}
	if err != nil {
		return record, err
	}
	registry.Folder.prune()
	if err := registry.Folder.create(record); err != nil {
		return record, err
	}
	started, err := registry.start(record, launch)
	if err == nil {
		err = registry.add(&run{record: record, process: started})
	}
	if err != nil {
		_ = os.RemoveAll(filepath.Join(string(registry.Folder), record.Name))
	}
	return record, err
}

// add takes a run that has been started to those that go on, or ends it if the server stops meanwhile.
func (registry *Registry) add(entry *run) error {
	registry.mutex.Lock()
	defer registry.mutex.Unlock()
	if registry.stopping {
		_ = entry.process.SignalGroup(syscall.SIGKILL)
		return errStopping
	}
	if registry.running == nil {
		registry.running = map[string]*run{}
	}
	registry.running[entry.record.Name] = entry
	registry.remember(entry.record)
	registry.Go("run "+entry.record.Name, func() { registry.await(entry) })
	return nil
}

// Check is the name of a run as Start would start it, but for its folder, which may come later.
func (registry *Registry) Check(asked Record) (string, error) {
	registry.starts.Lock()
	defer registry.starts.Unlock()
	record, launch, err := registry.plan(asked)
	if err == nil && launch.Argv[0] == filepath.Base(launch.Argv[0]) {
		if _, missing := exec.LookPath(launch.Argv[0]); missing != nil {
			err = noProgram(launch.Argv[0])
		}
	}
	if err == nil {
		err = registry.Folder.check(record.Name)
	}
	return record.Name, err
}

// launch is what is executed for a run.
type launch struct {
	Argv []string
	Env  []string
}

// plan is the record of a run that may start now, and what is executed for it.
func (registry *Registry) plan(asked Record) (Record, launch, error) {
	record := Record{
		Name: asked.Name, Argv: asked.Argv, Dir: asked.Dir, Env: asked.Env, Share: asked.Share, Torchrun: asked.Torchrun,
	}
	record.State, record.Started = Running, registry.Now().UTC().Truncate(time.Second)
	if record.Name == "" {
		record.Name = registry.Folder.FreeName(record.Started)
	}
	if err := registry.check(record); err != nil {
		return record, launch{}, err
	}
	if record.Torchrun == "" {
		return record, launch{Argv: record.Argv}, nil
	}
	if registry.Replicas > 1 {
		return record, launch{}, fmt.Errorf("this server has %d replicas, and a run is of one; start torchrun in all of them by /opt/devservers/pytorch/on-all-replicas, or the script in one of them by python3 (--no-torchrun)", registry.Replicas)
	}
	processes, err := processes(record.Torchrun, registry.GPUs)
	if err != nil {
		return record, launch{}, err
	}
	record.Processes = processes
	launched, err := torchrun(processes, registry.Folder.ranks(record.Name), record.Argv)
	return record, launched, err
}

func checkDir(path string) error {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return fmt.Errorf("there is no folder %s", path)
	}
	return nil
}

var errStopping = errors.New("the server stops now")

func noProgram(name string) error { return fmt.Errorf("there is no program %s in the server", name) }

func (registry *Registry) check(record Record) error {
	registry.mutex.Lock()
	defer registry.mutex.Unlock()
	if registry.stopping {
		return errStopping
	}
	if err := CheckName(record.Name); err != nil {
		return err
	}
	if len(record.Argv) == 0 || record.Argv[0] == "" {
		return errors.New("there is no command")
	}
	// Its folder may have been deleted.
	if _, unwritten := registry.unwritten[record.Name]; unwritten || registry.running[record.Name] != nil {
		return nameTaken(record.Name)
	}
	if registry.GPUs == 0 || record.Share {
		return nil
	}
	for name := range registry.running {
		return fmt.Errorf("run %s has the server's GPUs; wait for its end, cancel it, or share them (--share)", name)
	}
	return nil
}

func (registry *Registry) start(record Record, launched launch) (*process.Process, error) {
	output, err := os.OpenFile(registry.Folder.Output(record.Name), os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	input, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer input.Close()
	variables := os.Environ()
	if environment.Value(variables, "PYTHONUNBUFFERED") == "" {
		// Python would keep lines back that go into a file.
		variables = environment.With(variables, "PYTHONUNBUFFERED", "1")
	}
	for _, variable := range slices.Concat(launched.Env, record.Env, []string{runVariable + "=" + record.Name}) {
		name, value, _ := strings.Cut(variable, "=")
		variables = environment.With(variables, name, value)
	}
	started, err := registry.Reaper.Start(process.Spec{
		Argv: launched.Argv, Env: variables, Dir: record.Dir, Stdin: input, Stdout: output, Stderr: output,
	})
	if errors.Is(err, syscall.ENOENT) {
		err = noProgram(launched.Argv[0])
	}
	return started, err
}

// Cancel asks a run to end as Ctrl-C does, or ends it and what it started at once.
func (registry *Registry) Cancel(name string, kill bool) error {
	entry := registry.cancel(name)
	if entry == nil {
		record, held := registry.Ended(name)
		if !held {
			var err error
			if record, err = registry.Folder.Read(name); err != nil {
				return err
			}
		}
		return fmt.Errorf("run %s is %s", name, record.State)
	}
	if !kill {
		return entry.process.SignalGroup(syscall.SIGINT)
	}
	err := entry.process.SignalGroup(syscall.SIGKILL)
	killMembers(name)
	return err
}

// cancel marks a run that goes on as canceled; nil if none of that name does.
func (registry *Registry) cancel(name string) *run {
	registry.mutex.Lock()
	defer registry.mutex.Unlock()
	entry := registry.running[name]
	if entry != nil {
		entry.record.Canceled = true
	}
	return entry
}

// Stopping is called when the server stops: what ends from now on ends with it and starts no more.
func (registry *Registry) Stopping() {
	registry.mutex.Lock()
	defer registry.mutex.Unlock()
	registry.stopping = true
}

// Running is how many runs go on.
func (registry *Registry) Running() int {
	registry.mutex.Lock()
	defer registry.mutex.Unlock()
	return len(registry.running)
}
