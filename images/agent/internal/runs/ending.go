package runs

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// writeEvery is how long the agent waits before it tries again to write how a run ended, into a full home for example.
var writeEvery = time.Second

// await records the end of a run that goes on.
func (registry *Registry) await(entry *run) {
	<-entry.process.Done()
	if entry.process.Status().Signaled() {
		// It could not end what it started itself: torchrun's ranks would go on, on the GPUs of the next run.
		killMembers(entry.record.Name)
	}
	record := registry.end(entry)
	_ = os.RemoveAll(registry.Folder.ranks(record.Name))
	registry.write(record)
}

// end takes a run whose process has ended out of those that go on.
func (registry *Registry) end(entry *run) Record {
	registry.mutex.Lock()
	defer registry.mutex.Unlock()
	record := entry.record
	record.State, record.Ended = Ended, registry.Now().UTC().Truncate(time.Second)
	if registry.stopping {
		record.State = Lost
	}
	record.ExitCode = exitCode(entry.process.Status())
	delete(registry.running, record.Name)
	registry.remember(record)
	registry.holdLocked(record)
	return record
}

// hold keeps the record of a run that has ended until write has written it.
func (registry *Registry) hold(record Record) {
	registry.mutex.Lock()
	defer registry.mutex.Unlock()
	registry.holdLocked(record)
}

func (registry *Registry) holdLocked(record Record) {
	if registry.unwritten == nil {
		registry.unwritten = map[string]Record{}
	}
	registry.unwritten[record.Name] = record
}

// write writes a record that is held, as often as it takes, until the server stops. Who deleted its folder wants none.
func (registry *Registry) write(record Record) {
	for said := ""; ; time.Sleep(writeEvery) {
		err := registry.Folder.write(record)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			if said != err.Error() {
				registry.Say("the end of run "+record.Name+" can't be recorded; the agent tries again", err)
				said = err.Error()
			}
			if !registry.stops() {
				continue
			}
		}
		registry.mutex.Lock()
		defer registry.mutex.Unlock()
		delete(registry.unwritten, record.Name)
		return
	}
}

func (registry *Registry) stops() bool {
	registry.mutex.Lock()
	defer registry.mutex.Unlock()
	return registry.stopping
}

// Ended is the record of a run that has ended and whose end the home doesn't have yet.
func (registry *Registry) Ended(name string) (Record, bool) {
	registry.mutex.Lock()
	defer registry.mutex.Unlock()
	record, unwritten := registry.unwritten[name]
	return record, unwritten
}

func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}
