// Package disk measures how full a server's volumes are.
//
// Invariant: what isn't known is absent, and is never 0. Counting files never takes what the person's work needs.
package disk

import (
	"context"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"devservers.io/agent/internal/protocol"
)

const (
	walkTimeout  = time.Minute
	statInterval = time.Minute
	walkInterval = time.Hour
	maxMountinfo = 1 << 20
)

// Usage keeps the last measurement of each volume.
type Usage struct {
	Paths []string
	Clock func() time.Duration

	mutex   sync.Mutex
	results map[string]result
}

type result struct {
	volume protocol.Volume
	at     time.Duration
	valid  bool
	walked bool
}

// Volumes are the volumes whose use is known.
func (usage *Usage) Volumes() []protocol.Volume {
	usage.mutex.Lock()
	defer usage.mutex.Unlock()
	now := usage.Clock()
	var volumes []protocol.Volume
	for _, path := range usage.Paths {
		result := usage.results[path]
		stale := 10 * statInterval // a file system that hangs
		if result.walked {
			stale = 2*walkInterval + walkTimeout
		}
		if result.valid && now-result.at <= stale {
			volumes = append(volumes, result.volume)
		}
	}
	return volumes
}

// Measure measures what is due: file systems each minute, folders at most hourly. It may take a minute for each folder.
func (usage *Usage) Measure() {
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || len(mountinfo) > maxMountinfo {
		mountinfo = nil
	}
	for _, path := range usage.Paths {
		usage.mutex.Lock()
		last, known := usage.results[path]
		usage.mutex.Unlock()
		own := ownFileSystem(string(mountinfo), path)
		due := statInterval
		if !own {
			due = walkInterval
		}
		if known && last.walked == !own && usage.Clock()-last.at < due {
			continue
		}
		next := result{walked: !own}
		if own {
			next.volume, err = statfs(path)
		} else {
			next.volume, err = count(path, walkTimeout)
		}
		next.at, next.valid = usage.Clock(), err == nil
		usage.mutex.Lock()
		if usage.results == nil {
			usage.results = map[string]result{}
		}
		usage.results[path] = next
		usage.mutex.Unlock()
	}
}

func statfs(path string) (protocol.Volume, error) {
	var status syscall.Statfs_t
	if err := syscall.Statfs(path, &status); err != nil {
		return protocol.Volume{}, err
	}
	block := int64(status.Bsize)
	size := int64(status.Blocks) * block
	return protocol.Volume{Path: path, UsedBytes: size - int64(status.Bfree)*block, SizeBytes: &size, How: "statfs"}, nil
}

func count(path string, timeout time.Duration) (volume protocol.Volume, err error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return volume, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	atLowestPriority(func() {
		var used int64
		if used, err = walk(ctx, real); err == nil {
			volume = protocol.Volume{Path: path, UsedBytes: used, How: "du"}
		}
	})
	debug.FreeOSMemory() // names of many files
	return volume, err
}
