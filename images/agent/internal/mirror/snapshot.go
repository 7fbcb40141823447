package mirror

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// snapshot makes a folder of hard links to the mirror's files.
func (mirror Mirror) snapshot(entries []entry, target string) error {
	if err := free(target); err != nil {
		return err
	}
	err := os.MkdirAll(target, 0o755)
	for at := 0; at < len(entries) && err == nil; at++ {
		place := filepath.Join(target, entries[at].path)
		if err = os.MkdirAll(filepath.Dir(place), 0o755); err == nil {
			err = os.Link(filepath.Join(string(mirror), entries[at].path), place)
		}
	}
	if err != nil {
		_ = os.RemoveAll(target)
	}
	return err
}

// free is the error of a folder that is there already: it has the results of an earlier run.
func free(target string) error {
	if _, err := os.Lstat(target); err == nil {
		return fmt.Errorf("there is a folder %s already; give the run another name, or delete the folder", target)
	}
	return nil
}

// prune deletes what the mirror has and the manifest has not, and folders that are empty then.
func (mirror Mirror) prune(entries []entry) error {
	names := make(map[string]bool, len(entries))
	for _, entry := range entries {
		names[entry.path] = true
	}
	var folders []string
	err := filepath.WalkDir(string(mirror), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(strings.TrimPrefix(path, string(mirror)), string(filepath.Separator))
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
