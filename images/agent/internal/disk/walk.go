package disk

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"unsafe"
)

const (
	batch        = 256
	maxHardLinks = 100_000
	blockBytes   = 512

	schedIdle      = 5
	ioprioWho      = 1
	ioprioIdle     = 3 << 13
	lowestPriority = 19
)

type file struct{ device, inode uint64 }

// walk adds up what the files below a path take, on its file system alone, until the context ends.
func walk(ctx context.Context, path string) (int64, error) {
	var root syscall.Stat_t
	if err := syscall.Lstat(path, &root); err != nil {
		return 0, err
	}
	total := root.Blocks * blockBytes
	seen := map[file]bool{} // with several names
	folders := []string{path}
	for len(folders) > 0 {
		folder := folders[len(folders)-1]
		folders = folders[:len(folders)-1]
		opened, err := os.OpenFile(folder, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
		if err != nil {
			if folder == path {
				return 0, err
			}
			continue // gone, or not readable: what can't be read isn't the person's
		}
		for {
			if ctx.Err() != nil {
				opened.Close()
				return 0, ctx.Err()
			}
			names, err := opened.Readdirnames(batch)
			for _, name := range names {
				var status syscall.Stat_t
				full := filepath.Join(folder, name)
				if syscall.Lstat(full, &status) != nil || status.Dev != root.Dev {
					continue
				}
				directory := status.Mode&syscall.S_IFMT == syscall.S_IFDIR
				if !directory && status.Nlink > 1 && len(seen) < maxHardLinks {
					key := file{status.Dev, status.Ino}
					if seen[key] {
						continue
					}
					seen[key] = true
				}
				total += status.Blocks * blockBytes
				if directory {
					folders = append(folders, full)
				}
			}
			if err != nil {
				opened.Close()
				if !errors.Is(err, io.EOF) && folder == path {
					return 0, err
				}
				break
			}
		}
	}
	return total, nil
}

// atLowestPriority runs a function in a thread of its own that gets only what nothing else needs. The thread ends with
// it: its priority can't be raised again.
func atLowestPriority(run func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked, so the thread ends
		thread := syscall.Gettid()
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, thread, lowestPriority)
		var parameter struct{ priority int32 }
		_, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_SETSCHEDULER, uintptr(thread), schedIdle, uintptr(unsafe.Pointer(&parameter)))
		_, _, _ = syscall.RawSyscall(syscall.SYS_IOPRIO_SET, ioprioWho, uintptr(thread), ioprioIdle)
		run()
	}()
	<-done
}
