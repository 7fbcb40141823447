package runs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	// maxPath and maxFiles bound the list of files that a run is made of.
	maxPath  = 4096
	maxFiles = 1_000_000
)

// Snapshot makes a run's folder from a mirror: hard links to the files of a list, each name ended by a NUL. What the
// mirror has beyond the list is deleted from it, so that it stays as large as what it mirrors.
//
// A later transfer into the mirror replaces files and never writes into them, so the files of a run stay as they are.
func Snapshot(mirror, target string, list io.Reader) error {
	names, err := readList(list)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(target); err == nil {
		return fmt.Errorf("there is a folder %s already; give the run another name", target)
	}
	if err := link(mirror, target, names); err != nil {
		_ = os.RemoveAll(target)
		return err
	}
	return prune(mirror, names)
}

func readList(list io.Reader) (map[string]bool, error) {
	scanner := bufio.NewScanner(list)
	scanner.Buffer(make([]byte, 0, 1024), maxPath+1)
	scanner.Split(func(data []byte, end bool) (int, []byte, error) {
		for at, char := range data {
			if char == 0 {
				return at + 1, data[:at], nil
			}
		}
		if end && len(data) > 0 {
			return 0, nil, errors.New("the list of files is cut off")
		}
		return 0, nil, nil
	})
	names := map[string]bool{}
	for scanner.Scan() {
		name := scanner.Text()
		if !filepath.IsLocal(name) || filepath.Clean(name) != name {
			return nil, fmt.Errorf("%q is no name of a file within a folder", name)
		}
		if names[name] = true; len(names) > maxFiles {
			return nil, fmt.Errorf("these are more than %d files", maxFiles)
		}
	}
	return names, scanner.Err()
}

func link(mirror, target string, names map[string]bool) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	for name := range names {
		place := filepath.Join(target, name)
		if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
			return err
		}
		if err := os.Link(filepath.Join(mirror, name), place); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s was not transferred", name)
			}
			return err
		}
	}
	return nil
}

// prune deletes what is in the mirror and not in the list, and folders that are empty then.
func prune(mirror string, names map[string]bool) error {
	var folders []string
	err := filepath.WalkDir(mirror, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(strings.TrimPrefix(path, mirror), string(filepath.Separator))
		switch {
		case name == "":
		case entry.IsDir():
			folders = append(folders, path)
		case !names[name]:
			return os.Remove(path)
		}
		return nil
	})
	for at := len(folders) - 1; at >= 0; at-- {
		_ = os.Remove(folders[at]) // fails where something is left in it
	}
	return err
}
