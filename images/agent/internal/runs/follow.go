package runs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"
)

// pollEvery is how often new output is looked for. A person sees no delay, and a follower costs next to nothing.
const pollEvery = 25 * time.Millisecond

// everyPolls is after how many looks at the record the agent is asked too, or a record that can't be read is an error.
const everyPolls = 40

// Follow copies a run's output from an offset in bytes, until the run has ended or the context has, and returns its
// record. Nothing is left out and nothing comes twice for who goes on at the offset where they stopped. What ended
// knows counts while the record doesn't have the end of the run, as in a full home.
func (folder Folder) Follow(
	ctx context.Context, out io.Writer, name string, from int64, ended func(name string) (Record, bool),
) (Record, error) {
	record, err := folder.Read(name)
	if err != nil {
		return record, err
	}
	file, err := os.Open(folder.Output(name))
	if errors.Is(err, fs.ErrNotExist) {
		return record, errors.New("the output of run " + name + " was deleted")
	}
	if err != nil {
		return record, err
	}
	defer file.Close()
	if _, err := file.Seek(from, io.SeekStart); err != nil {
		return record, err
	}
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	unreadable := 0
	for polls := 1; ; polls++ {
		// Read before the output: what was printed before the end is there once the record says so.
		if read, err := folder.Read(name); err == nil {
			record, unreadable = read, 0
		} else if unreadable++; unreadable == everyPolls {
			return record, err // for a shorter time it may be one that is written in place
		}
		if record.State == Running && polls%everyPolls == 0 {
			if end, has := ended(name); has {
				record = end
			}
		}
		if _, err := io.Copy(out, file); err != nil {
			return record, err
		}
		if record.State != Running {
			return record, nil
		}
		select {
		case <-ctx.Done():
			return record, ctx.Err()
		case <-ticker.C:
		}
	}
}
