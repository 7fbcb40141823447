// Package mirror keeps a copy of a folder of a person's machine in the home, and makes the folders of runs from it.
//
// Invariant: a transfer replaces files and never writes into them, so no transfer changes the files of a run, which are
// hard links to those of the mirror. A program that writes into such a file in place changes it in the mirror and in every
// run that shares it, earlier, concurrent or later; the next transfer finds another time of change and replaces it.
package mirror

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const incoming = ".devservers-incoming"

// Mirror is the folder of a copy. Its lock lies beside it.
type Mirror string

// Receive brings the mirror up to date and links its files into the folder target, which must not be there.
//
// Where target is there already, nothing is read. Otherwise it reads a manifest, calls ask with the indices of the entries
// whose content it needs, and reads that, in order.
func (mirror Mirror) Receive(in *bufio.Reader, ask func(need []int) error, target string) error {
	if err := free(target); err != nil {
		return err
	}
	entries, err := readManifest(in)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(string(mirror), 0o755); err != nil {
		return err
	}
	unlock, err := mirror.lock()
	if err != nil {
		return err
	}
	defer unlock()
	need, size := []int{}, int64(0)
	for at, entry := range entries {
		if !entry.isIn(string(mirror)) {
			need, size = append(need, at), size+entry.size
		}
	}
	if err := enough(string(mirror), size); err != nil {
		return err
	}
	if err := ask(need); err != nil {
		return err
	}
	for _, at := range need {
		if err := mirror.receive(in, entries[at]); err != nil {
			return fmt.Errorf("%s: %w", entries[at].path, err)
		}
	}
	if err := mirror.snapshot(entries, target); err != nil {
		return err
	}
	// The run has all its files. What can't be deleted in the mirror is in nobody's way, and the next transfer tries again.
	_ = mirror.prune(entries)
	return nil
}

// lock keeps a second transfer out of the mirror until unlock is called.
func (mirror Mirror) lock() (unlock func(), err error) {
	file, err := os.OpenFile(string(mirror)+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		file.Close()
		return nil, err
	}
	return func() { file.Close() }, nil
}

func enough(folder string, size int64) error {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(folder, &disk); err != nil {
		return nil
	}
	if free := int64(disk.Bavail) * disk.Bsize; size > free {
		return fmt.Errorf("the home has %d MiB left and the files have %d MiB; delete something in it, or send less (.devctlignore)", free>>20, size>>20)
	}
	return nil
}

// receive reads one file's content and puts it into its place.
func (mirror Mirror) receive(in *bufio.Reader, entry entry) error {
	place := filepath.Join(string(mirror), entry.path)
	if err := mirror.makeParents(entry.path); err != nil {
		return err
	}
	part := filepath.Join(string(mirror), incoming)
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	if err := create(part, in, entry); err != nil {
		return err
	}
	if info, err := os.Lstat(place); err == nil && info.IsDir() {
		if err := os.RemoveAll(place); err != nil {
			return err
		}
	}
	return os.Rename(part, place)
}

func create(part string, in *bufio.Reader, entry entry) error {
	cut := errors.New("the transfer was cut off")
	if entry.link {
		text := make([]byte, entry.size)
		if _, err := io.ReadFull(in, text); err != nil {
			return cut
		}
		return os.Symlink(string(text), part)
	}
	file, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyN(file, in, entry.size)
	if errors.Is(err, io.EOF) {
		err = cut
	}
	if err == nil {
		err = file.Chmod(entry.mode)
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	at := time.Unix(0, entry.mtime)
	return os.Chtimes(part, at, at)
}

// makeParents makes the folders above a file; what is no folder there gives way.
func (mirror Mirror) makeParents(path string) error {
	folder := string(mirror)
	parts := strings.Split(path, string(filepath.Separator))
	for _, part := range parts[:len(parts)-1] {
		folder = filepath.Join(folder, part)
		info, err := os.Lstat(folder)
		if err == nil && info.IsDir() {
			continue
		}
		if err == nil {
			err = os.Remove(folder)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Mkdir(folder, 0o755); err != nil {
			return err
		}
	}
	return nil
}
