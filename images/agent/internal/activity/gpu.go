package activity

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	gpuTimeout = 10 * time.Second
	gpuEvery   = 30 * time.Second
	gpuStale   = 2 * time.Minute
)

// GPU is the utilisation that nvidia-smi prints.
//
// Invariant: a sample never waits for nvidia-smi, which can hang for good on a broken driver.
type GPU struct {
	Root string
	// Run runs a program and returns its output; the context's end ends it.
	Run func(ctx context.Context, argv ...string) ([]byte, error)

	mutex    sync.Mutex
	running  bool
	asked    time.Duration
	began    bool
	percent  int64
	read     time.Duration
	answered bool
	valid    bool
}

// Sample starts nvidia-smi when it is time, and judges by its last answer.
func (gpu *GPU) Sample(now time.Duration, thresholds Thresholds) (Reading, time.Duration, bool) {
	devices, _ := filepath.Glob(filepath.Join(gpu.Root, "dev/nvidia[0-9]*"))
	if len(devices) == 0 {
		return Absent, 0, false
	}
	gpu.mutex.Lock()
	defer gpu.mutex.Unlock()
	if !gpu.running && (!gpu.began || now-gpu.asked >= gpuEvery) {
		gpu.running, gpu.began, gpu.asked = true, true, now
		go gpu.ask(now)
	}
	if !gpu.answered && now < gpu.asked+gpuTimeout {
		return Readable, now, true // the first answer isn't due yet
	}
	if !gpu.valid || now-gpu.read > gpuStale {
		return Unreadable, 0, false
	}
	return Readable, gpu.read, gpu.percent > thresholds.GPUPercent
}

func (gpu *GPU) ask(now time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), gpuTimeout)
	defer cancel()
	percent, err := gpu.utilisation(ctx)
	gpu.mutex.Lock()
	defer gpu.mutex.Unlock()
	gpu.running, gpu.answered = false, true
	gpu.valid = err == nil
	if err == nil {
		gpu.percent, gpu.read = percent, now
	}
}

func (gpu *GPU) utilisation(ctx context.Context) (int64, error) {
	for _, folder := range []string{"usr/bin", "usr/local/bin", "usr/local/nvidia/bin", "opt/bin", "bin"} {
		path := filepath.Join(gpu.Root, folder, "nvidia-smi")
		if status, err := os.Stat(path); err != nil || status.Mode()&0o111 == 0 {
			continue
		}
		text, err := gpu.Run(ctx, path, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")
		if err != nil {
			return 0, err
		}
		return parseUtilisation(string(text))
	}
	return 0, errors.New("the server has a GPU and no nvidia-smi")
}

// parseUtilisation is the busiest GPU's. "[N/A]", which GPUs in partitions (MIG) show, can't be judged.
func parseUtilisation(text string) (int64, error) {
	var most int64
	lines := strings.Fields(text)
	if len(lines) == 0 {
		return 0, errors.New("nvidia-smi prints no GPU")
	}
	for _, line := range lines {
		percent, err := strconv.ParseInt(line, 10, 64)
		if err != nil || percent < 0 || percent > 100 {
			return 0, errors.New("nvidia-smi prints no utilisation")
		}
		most = max(most, percent)
	}
	return most, nil
}
