package process

import (
	"os"
	"syscall"
)

// Pipe returns the ends of a pipe: one to read from here, which can be closed under a reader, and one for a process to
// write into, which blocks, as programs expect it.
func Pipe() (read, write *os.File, err error) {
	var ends [2]int
	if err := syscall.Pipe2(ends[:], syscall.O_CLOEXEC); err != nil {
		return nil, nil, err
	}
	// Of the reading end alone: os.Pipe would set both, and a process that writes would meet EAGAIN.
	if err := syscall.SetNonblock(ends[0], true); err != nil {
		_, _ = syscall.Close(ends[0]), syscall.Close(ends[1])
		return nil, nil, err
	}
	return os.NewFile(uintptr(ends[0]), "pipe"), os.NewFile(uintptr(ends[1]), "pipe"), nil
}
