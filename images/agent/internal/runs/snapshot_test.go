package runs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	// As rsync does: a new file that takes the old one's place.
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func text(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(content)
}

func TestSnapshotKeepsARunsFilesWhileTheMirrorChanges(t *testing.T) {
	home := t.TempDir()
	mirror, first, second := home+"/mirror", home+"/runs/first", home+"/runs/second"
	put(t, mirror+"/train.py", "one")
	put(t, mirror+"/pkg/deep/data.txt", "data")
	if err := Snapshot(mirror, first, strings.NewReader("train.py\x00pkg/deep/data.txt\x00")); err != nil {
		t.Fatal(err)
	}
	put(t, mirror+"/train.py", "two")
	put(t, first+"/result.txt", "result")
	if err := Snapshot(mirror, second, strings.NewReader("train.py\x00")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		first + "/train.py": "one", second + "/train.py": "two", first + "/pkg/deep/data.txt": "data", first + "/result.txt": "result",
	} {
		if text(path) != want {
			t.Errorf("%s: %q", path, text(path))
		}
	}
	if _, err := os.Stat(mirror + "/pkg"); !os.IsNotExist(err) {
		t.Error("what is no longer in the folder is still in its mirror")
	}
}

func TestSnapshotRefusesNamesOutsideOfTheFolder(t *testing.T) {
	home := t.TempDir()
	put(t, home+"/mirror/a", "a")
	put(t, home+"/secret", "secret")
	for list, want := range map[string]string{
		"../secret\x00":                         "is no name of a file within a folder",
		"/etc/passwd\x00":                       "is no name of a file within a folder",
		"a/../../secret\x00":                    "is no name of a file within a folder",
		"./a\x00":                               "is no name of a file within a folder",
		"\x00":                                  "is no name of a file within a folder",
		"a":                                     "the list of files is cut off",
		"missing\x00":                           "missing was not transferred",
		strings.Repeat("x", maxPath+2) + "\x00": "token too long",
	} {
		target := home + "/runs/x"
		if err := Snapshot(home+"/mirror", target, strings.NewReader(list)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v", list, err)
		}
		if _, err := os.Stat(target); !os.IsNotExist(err) {
			t.Errorf("%.20q left a folder", list)
		}
	}
	if text(home+"/mirror/a") != "a" {
		t.Error("a refused list changed the mirror")
	}
	if err := Snapshot(home+"/mirror", home, strings.NewReader("a\x00")); err == nil || !strings.Contains(err.Error(), "already") {
		t.Error(err)
	}
}
