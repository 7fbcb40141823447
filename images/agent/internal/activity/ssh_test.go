package activity

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Connections whose bytes a test sets, sampled every ten seconds.
type traffic struct {
	t     *testing.T
	ssh   *SSH
	bytes map[string]uint64
	now   time.Duration
}

func newTraffic(t *testing.T) *traffic {
	traffic := &traffic{t: t, bytes: map[string]uint64{}}
	traffic.ssh = &SSH{Window: time.Minute, List: func() ([]Connection, error) {
		var all []Connection
		for id, bytes := range traffic.bytes {
			all = append(all, Connection{id, bytes})
		}
		return all, nil
	}}
	return traffic
}

func (traffic *traffic) sample(most int64) (time.Duration, bool) {
	traffic.t.Helper()
	traffic.now += 10 * time.Second
	reading, at, active := traffic.ssh.Sample(traffic.now, Thresholds{SSHBytesPerMinute: most})
	if reading != Readable {
		traffic.t.Error(reading)
	}
	return at, active
}

func TestSSHHeartbeatsOfManyEditorsAreSilence(t *testing.T) {
	traffic := newTraffic(t)
	for i := range 20 {
		traffic.bytes[strconv.Itoa(i)] = 4000
	}
	for i := range 30 {
		// The login is a part of the first minute.
		if at, active := traffic.sample(6000); active && (i > 6 || at != 10*time.Second) {
			t.Fatal(at)
		}
		for id := range traffic.bytes {
			traffic.bytes[id] += 900 // 5400 a minute each
		}
	}
}

func TestSSHSlowDownloadIsActive(t *testing.T) {
	traffic := newTraffic(t)
	traffic.bytes["editor"], traffic.bytes["download"] = 1, 1
	traffic.sample(6000)
	for i := range 30 {
		traffic.bytes["editor"] += 10
		traffic.bytes["download"] += 1200
		if at, active := traffic.sample(6000); active != (i >= 4) || active && at != traffic.now {
			t.Fatal(i, at, active)
		}
	}
}

func TestSSHBurstCountsAtItsOwnTime(t *testing.T) {
	traffic := newTraffic(t)
	traffic.bytes["a"] = 4000
	traffic.sample(6000)
	traffic.bytes["a"] += 50_000
	burst, active := traffic.sample(6000)
	if !active || burst != traffic.now {
		t.Fatal(burst, active)
	}
	for i := range 10 {
		traffic.bytes["a"] += 100 // keep-alives
		if at, active := traffic.sample(6000); active != (i < 5) || active && at != burst {
			t.Error(i, at, active)
		}
	}
}

func TestSSHLoginIsActiveAndAnEndedConnectionIsForgotten(t *testing.T) {
	traffic := newTraffic(t)
	traffic.bytes["a"] = 40_000
	if _, active := traffic.sample(6000); !active {
		t.Error("a login with much traffic is not active")
	}
	delete(traffic.bytes, "a")
	traffic.sample(6000)
	if len(traffic.ssh.histories) != 0 {
		t.Error(traffic.ssh.histories)
	}
}

func TestSSHThatCannotBeReadIsUnreadable(t *testing.T) {
	ssh := &SSH{Window: time.Minute, List: func() ([]Connection, error) { return nil, errors.New("no") }}
	if reading, _, active := ssh.Sample(0, Thresholds{}); reading != Unreadable || active {
		t.Error(reading, active)
	}
}

// The kernel's own count, by a process without any right, as in a pod.
func TestListConnectionsWithoutRights(t *testing.T) {
	if os.Geteuid() == 0 {
		self := exec.Command("/proc/self/exe", "-test.run=TestListConnectionsWithoutRights", "-test.v")
		self.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		self.Dir = "/"
		if out, err := self.CombinedOutput(); err != nil {
			t.Fatal(err, string(out))
		}
		return
	}
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", "[::]:0"} {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Logf("%s: %s", address, err)
			continue
		}
		defer listener.Close()
		port := listener.Addr().(*net.TCPAddr).Port
		client, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		server, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		list := ListConnections(uint16(port))
		before, err := list()
		if err != nil || len(before) != 1 || before[0].Bytes > 1 {
			t.Fatal(address, before, err)
		}
		if _, err := client.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(server, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		if _, err := server.Write(make([]byte, 500)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(client, make([]byte, 500)); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
			after, err := list()
			if err != nil || len(after) != 1 || after[0].ID != before[0].ID {
				t.Fatal(address, after, err)
			}
			if carried := after[0].Bytes - before[0].Bytes; carried >= 1500 && carried <= 1502 {
				break
			} else if time.Now().After(deadline) {
				t.Fatal(address, carried)
			}
		}
		client.Close()
		server.Close()
	}
	if none, err := ListConnections(1)(); err != nil || len(none) != 0 {
		t.Error(none, err)
	}
}

func FuzzParseMessages(f *testing.F) {
	f.Add(request(syscall.AF_INET, 22))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		if some, _, err := parseMessages(text, 22); err != nil && some != nil {
			t.Error(some, err)
		}
	})
}
