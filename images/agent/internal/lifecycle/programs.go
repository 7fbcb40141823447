package lifecycle

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"devservers.io/agent/internal/setup"
)

const maxGPUOutput = 16 * 1024

// ownTime is the processor time of this process.
func ownTime() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// output runs a program for its output.
func (service *Service) output(ctx context.Context, argv ...string) ([]byte, error) {
	var out bounded
	code, err := service.options.Run(ctx, setup.Program{Argv: argv, Env: os.Environ(), Dir: "/", Output: &out})
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d", code)
	}
	out.mutex.Lock()
	defer out.mutex.Unlock()
	return out.text.Bytes(), err
}

type bounded struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (out *bounded) Write(text []byte) (int, error) {
	out.mutex.Lock()
	defer out.mutex.Unlock()
	out.text.Write(text[:min(len(text), maxGPUOutput-out.text.Len())])
	return len(text), nil
}
