package disk

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const mountinfo = `610 500 0:200 / / rw,relatime master:10 - overlay overlay rw,lowerdir=a
620 610 259:3 / /home/dev rw,relatime - ext4 /dev/nvme1n1 rw
621 610 254:1 /opt/local-path/pvc-1 /data rw,relatime - ext4 /dev/root rw
622 610 259:4 / /with\040blank rw shared:1 - xfs /dev/nvme2n1 rw
623 610 0:60 / /shared rw - nfs4 10.0.0.1:/ rw
624 610 259:5 / /covered rw - ext4 /dev/nvme3n1 rw
625 610 254:1 /sub /covered rw - ext4 /dev/root rw
broken
`

func TestOwnFileSystem(t *testing.T) {
	for path, want := range map[string]bool{
		"/home/dev": true, "/home/dev/": true, "/with blank": true, "/data": false, "/shared": false, "/": false,
		"/covered": false, "/home": false, "/absent": false,
	} {
		if got := ownFileSystem(mountinfo, path); got != want {
			t.Error(path, got)
		}
	}
}

func fill(t *testing.T) string {
	folder := t.TempDir()
	for i := range 600 { // more than a batch
		name := filepath.Join(folder, strconv.Itoa(i%7), strconv.Itoa(i))
		os.MkdirAll(filepath.Dir(name), 0o755)
		if err := os.WriteFile(name, make([]byte, 5000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	os.Link(filepath.Join(folder, "0/0"), filepath.Join(folder, "hard"))
	os.Symlink("/", filepath.Join(folder, "everything"))
	return folder
}

func TestWalkCountsAsDuDoes(t *testing.T) {
	folder := fill(t)
	out, err := exec.Command("du", "-s", "-x", "-B1", folder).Output()
	if err != nil {
		t.Fatal(err)
	}
	want, _ := strconv.ParseInt(strings.Fields(string(out))[0], 10, 64)
	if got, err := walk(context.Background(), folder); err != nil || got != want || got < 600*5000 {
		t.Error(got, err, want)
	}
}

func TestWalkEndsWithItsTime(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := walk(ctx, fill(t)); err == nil {
		t.Error("a walk without time has a result")
	}
	if _, err := walk(context.Background(), "/does/not/exist"); err == nil {
		t.Error("nothing has a size")
	}
}

func TestAtLowestPriority(t *testing.T) {
	var status string
	atLowestPriority(func() {
		text, _ := os.ReadFile("/proc/thread-self/stat")
		status = string(text)
	})
	fields := strings.Fields(status[strings.LastIndex(status, ")")+1:])
	if fields[16] != "19" || fields[38] != "5" { // nice, policy
		t.Error(fields)
	}
}

func TestUsageIsAbsentWhereItIsNotKnownAndIsMeasuredAtMostHourly(t *testing.T) {
	folder, now := fill(t), time.Duration(0)
	usage := &Usage{Paths: []string{folder, "/does/not/exist"}, Clock: func() time.Duration { return now }}
	if volumes := usage.Volumes(); volumes != nil {
		t.Error(volumes)
	}
	usage.Measure()
	volumes := usage.Volumes()
	if len(volumes) != 1 || volumes[0].Path != folder || volumes[0].SizeBytes != nil || volumes[0].How != "du" {
		t.Fatal(volumes)
	}
	before := volumes[0].UsedBytes
	os.WriteFile(filepath.Join(folder, "more"), make([]byte, 100_000), 0o600)
	now = 59 * time.Minute
	usage.Measure()
	if volumes := usage.Volumes(); volumes[0].UsedBytes != before {
		t.Error("it was counted within the hour")
	}
	now = time.Hour
	usage.Measure()
	if volumes := usage.Volumes(); volumes[0].UsedBytes < before+100_000 {
		t.Error(volumes)
	}
	now = 5 * time.Hour
	if volumes := usage.Volumes(); volumes != nil {
		t.Error("an old number is shown", volumes)
	}
}

func TestStatfs(t *testing.T) {
	volume, err := statfs("/")
	if err != nil || volume.UsedBytes <= 0 || *volume.SizeBytes < volume.UsedBytes || volume.How != "statfs" {
		t.Error(volume, err)
	}
}
