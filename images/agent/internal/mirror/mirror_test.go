package mirror

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

type file struct{ path, content string }

const hour = int64(3600e9)

// send is the other side: it describes files of one time and sends those that are asked for.
func send(mirror Mirror, target string, mtime int64, files ...file) ([]string, error) {
	var manifest, content strings.Builder
	for _, file := range files {
		kind := "f"
		if strings.HasPrefix(file.content, "-> ") {
			kind, file.content = "l", file.content[3:]
		}
		fmt.Fprintf(&manifest, "%s 644 %d %d %s\x00", kind, len(file.content), mtime, file.path)
	}
	manifest.WriteByte(0)
	var asked []string
	// The content is known only when it was asked for, as over a connection.
	in := &later{first: strings.NewReader(manifest.String()), rest: &content}
	err := mirror.Receive(bufio.NewReader(in), func(need []int) error {
		for _, at := range need {
			asked = append(asked, files[at].path)
			content.WriteString(strings.TrimPrefix(files[at].content, "-> "))
		}
		return nil
	}, target)
	return asked, err
}

type later struct {
	first *strings.Reader
	rest  *strings.Builder
	at    int
}

func (later *later) Read(into []byte) (int, error) {
	if later.first.Len() > 0 {
		return later.first.Read(into)
	}
	read, err := strings.NewReader(later.rest.String()[later.at:]).Read(into)
	later.at += read
	return read, err
}

func text(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(content)
}

func TestTransferSendsWhatChangedAndKeepsTheFilesOfRuns(t *testing.T) {
	home := t.TempDir()
	mirror, first, second := Mirror(home+"/src/mine"), home+"/runs/first", home+"/runs/second"
	asked, err := send(mirror, first, hour, file{"train.py", "one"}, file{"pkg/deep/data.txt", "data"}, file{"old", "old"})
	if err != nil || len(asked) != 3 {
		t.Fatal(asked, err)
	}
	if err := os.WriteFile(first+"/result.txt", []byte("result"), 0o644); err != nil {
		t.Fatal(err)
	}
	asked, err = send(mirror, second, hour, file{"train.py", "three"}, file{"pkg/deep/data.txt", "data"})
	if err != nil || !reflect.DeepEqual(asked, []string{"train.py"}) {
		t.Errorf("%q %v", asked, err)
	}
	for path, want := range map[string]string{
		first + "/train.py": "one", second + "/train.py": "three", first + "/old": "old",
		second + "/pkg/deep/data.txt": "data", first + "/result.txt": "result",
	} {
		if text(path) != want {
			t.Errorf("%s: %q", path, text(path))
		}
	}
	for _, gone := range []string{string(mirror) + "/old", second + "/old", second + "/result.txt"} {
		if _, err := os.Lstat(gone); !os.IsNotExist(err) {
			t.Errorf("%s is there", gone)
		}
	}
	if info, err := os.Stat(second + "/train.py"); err != nil || info.Mode().Perm() != 0o644 || !info.ModTime().Equal(time.Unix(3600, 0)) {
		t.Errorf("%v %v", info, err)
	}
	if asked, err = send(mirror, home+"/runs/third", 2*hour, file{"train.py", "three"}); err != nil || len(asked) != 1 {
		t.Errorf("a file of another time was not sent: %q %v", asked, err)
	}
}

func TestTransferReplacesFoldersAndLinksByWhatTheyAreNow(t *testing.T) {
	home := t.TempDir()
	mirror := Mirror(home + "/src/mine")
	outside := filepath.Join(home, "outside")
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	for number, files := range [][]file{
		{{"a/b", "file"}, {"c", "file"}, {"link", "-> " + outside}},
		{{"a", "now a file"}, {"c/d", "in a folder"}, {"link/e", "in a folder"}},
		{{"a", "-> c/d"}, {"c/d", "in a folder"}},
	} {
		target := fmt.Sprintf("%s/runs/%d", home, number)
		if _, err := send(mirror, target, hour, files...); err != nil {
			t.Fatal(number, err)
		}
		for _, file := range files {
			if link, linked := strings.CutPrefix(file.content, "-> "); linked {
				if got, err := os.Readlink(target + "/" + file.path); got != link {
					t.Error(got, err)
				}
			} else if got := text(target + "/" + file.path); got != file.content {
				t.Errorf("%d %s: %q", number, file.path, got)
			}
		}
	}
	if entries, _ := os.ReadDir(outside); len(entries) > 0 {
		t.Error("a file was written through a symbolic link of an earlier transfer")
	}
}

func TestTransferRefusesWhatIsNoManifest(t *testing.T) {
	home := t.TempDir()
	mirror := Mirror(home + "/src/mine")
	if _, err := send(mirror, home+"/runs/first", hour, file{"a", "a"}); err != nil {
		t.Fatal(err)
	}
	for manifest, want := range map[string]string{
		"f 644 1 0 ../secret\x00\x00":                         "is no name of a file within a folder",
		"f 644 1 0 /etc/passwd\x00\x00":                       "is no name of a file within a folder",
		"f 644 1 0 a/../../secret\x00\x00":                    "is no name of a file within a folder",
		"f 644 1 0 ./a\x00\x00":                               "is no name of a file within a folder",
		"f 644 1 0 .\x00\x00":                                 "is no name of a file within a folder",
		"f 644 1 0 \x00\x00":                                  "is no name of a file within a folder",
		"f 644 1 0 a\x00f 644 1 0 a\x00\x00":                  "comes twice",
		"d 755 0 0 a\x00\x00":                                 "is no file of a list",
		"f 7777 1 0 a\x00\x00":                                "is no file of a list",
		"f 644 -1 0 a\x00\x00":                                "is no file of a list",
		"l 777 99999 0 a\x00\x00":                             "is no file of a list",
		"f 644 1\x00\x00":                                     "is no file of a list",
		"f 644 1 0 b":                                         "the list of files is cut off",
		"f 644 1 0 b\x00":                                     "the list of files is cut off",
		"f 644 5 0 b\x00\x00abc":                              "b: the transfer was cut off",
		"f 644 9000000000000000 0 b\x00\x00":                  "MiB left and the files have",
		strings.Repeat("x", maxEntry+2) + "\x00":              "the name of a file is too long",
		"f 644 1 0 " + strings.Repeat("n", 300) + "\x00\x00x": "file name too long",
	} {
		target := home + "/runs/second"
		err := mirror.Receive(bufio.NewReader(strings.NewReader(manifest)), func([]int) error { return nil }, target)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v", manifest, err)
		}
		if _, err := os.Lstat(target); !os.IsNotExist(err) {
			t.Errorf("%.40q left a folder", manifest)
		}
	}
	if text(string(mirror)+"/a") != "a" {
		t.Error("a refused list changed the mirror")
	}
	if _, err := send(mirror, home+"/runs/first", hour, file{"a", "b"}); err == nil || !strings.Contains(err.Error(), "give the run another name") {
		t.Error(err)
	}
}

func TestATakenFolderIsRefusedBeforeAnythingIsSent(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(home+"/runs/taken", 0o755); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(strings.NewReader("f 644 1 1 a\x00\x00x"))
	err := Mirror(home+"/src/mine").Receive(in, func([]int) error { t.Error("it asks for files"); return nil }, home+"/runs/taken")
	if err == nil || !strings.Contains(err.Error(), "/runs/taken already; give the run another name") || in.Buffered() != 0 {
		t.Error(err, in.Buffered())
	}
	if _, err := os.Lstat(home + "/src"); !os.IsNotExist(err) {
		t.Errorf("a mirror was made: %v", err)
	}
}

func TestAMirrorThatCantBePrunedTakesNoNameAndHoldsUpNoRun(t *testing.T) {
	home := t.TempDir()
	if os.Geteuid() == 0 {
		defer asNobody(t, home)()
	}
	mirror := Mirror(home + "/src/mine")
	if _, err := send(mirror, home+"/runs/one", hour, file{"a", "one"}, file{"kept/old", "old"}); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(string(mirror)+"/kept", 0o500); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.Chmod(string(mirror)+"/kept", 0o700) }()
	if _, err := send(mirror, home+"/runs/two", hour, file{"a", "other"}); err != nil || text(home+"/runs/two/a") != "other" {
		t.Error(err, text(home+"/runs/two/a"))
	}
	if text(string(mirror)+"/kept/old") != "old" {
		t.Error("it could be deleted")
	}
}

// asNobody takes root's rights to files from this test until back is called; the folder is its own then.
func asNobody(t *testing.T, folder string) (back func()) {
	t.Helper()
	const nobody = 65534
	if err := errors.Join(os.Chmod(filepath.Dir(folder), 0o755), os.Chown(folder, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	_, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, nobody, 0, 0)
	return func() {
		_, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, 0, 0, 0)
		runtime.UnlockOSThread()
	}
}
