package output

import (
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"devservers.io/agent/internal/process"
)

// Copier passes on what a process writes into a pipe.
//
// Invariant: the process is never blocked or ended by a target that fails; what can't be written is dropped. A target
// that is slow slows the process down, as it would without the pipe.
type Copier struct {
	read   *os.File
	target int
	keep   *Stream
	mutex  sync.Mutex // held while a part is between pipe and target
}

// Pipe makes a pipe whose reading end is copied to target, a file descriptor, from then on. The returned file is for
// a process to write into; the caller closes its own.
func Pipe(target int, keep *Stream) (*os.File, *Copier, error) {
	read, write, err := process.Pipe()
	if err != nil {
		return nil, nil, err
	}
	copier := &Copier{read: read, target: target, keep: keep}
	go copier.run()
	return write, copier, nil
}

func (c *Copier) run() {
	defer c.read.Close()
	connection, err := c.read.SyscallConn()
	if err != nil {
		return
	}
	block := make([]byte, 16*1024)
	for {
		size := 0
		err := connection.Read(func(fd uintptr) bool {
			c.mutex.Lock()
			defer c.mutex.Unlock()
			var failure error
			size, failure = syscall.Read(int(fd), block)
			for failure == syscall.EINTR {
				size, failure = syscall.Read(int(fd), block)
			}
			if failure == syscall.EAGAIN {
				return false
			}
			if size > 0 {
				c.keep.Keep(block[:size])
				writeAll(c.target, block[:size])
			}
			return true
		})
		if err != nil || size <= 0 {
			return
		}
	}
}

func writeAll(fd int, data []byte) {
	for len(data) > 0 {
		size, err := syscall.Write(fd, data)
		if err == syscall.EINTR {
			continue
		}
		if err == syscall.EAGAIN {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if err != nil {
			return
		}
		data = data[size:]
	}
}

// Drain waits until what was written into the pipe so far has been passed on, at most for the given time.
func (c *Copier) Drain(most time.Duration) {
	for until := time.Now().Add(most); time.Now().Before(until); time.Sleep(2 * time.Millisecond) {
		if c.mutex.TryLock() {
			left := c.unread()
			c.mutex.Unlock()
			if left <= 0 {
				return
			}
		}
	}
}

func (c *Copier) unread() int {
	connection, err := c.read.SyscallConn()
	if err != nil {
		return 0
	}
	var left int32
	err = connection.Control(func(fd uintptr) {
		_, _, failure := syscall.Syscall(syscall.SYS_IOCTL, fd, uintptr(0x541b), uintptr(unsafe.Pointer(&left))) // FIONREAD
		if failure != 0 {
			left = 0
		}
	})
	if err != nil {
		return 0
	}
	return int(left)
}
