// Package install copies /opt/devservers into a pod's volume.
//
// It also makes the files that the main container has mounted below /etc: a single file can only be mounted when it is
// there.
package install

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"devservers.io/agent/internal/paths"
)

// Main is the init container's program.
func Main(root, target, run string) error {
	if err := copyTree(root, target); err != nil {
		return err
	}
	for _, path := range []string{paths.Passwd, paths.Profile} {
		file, err := os.OpenFile(filepath.Join(run, strings.TrimPrefix(path, paths.Run)), os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		if err := file.Close(); err != nil {
			return err
		}
	}
	return nil
}

func copyTree(root, target string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		to := filepath.Join(target, relative)
		if entry.IsDir() {
			if err := os.Mkdir(to, 0o755); err != nil && !os.IsExist(err) {
				return err
			}
			return nil
		}
		// A new file under another name: the old one may be running when a container of the pod starts again.
		partial := to + ".new"
		if err := os.Remove(partial); err != nil && !os.IsNotExist(err) {
			return err
		}
		if entry.Type()&fs.ModeSymlink != 0 {
			err = copyLink(path, partial)
		} else {
			err = copyFile(path, partial)
		}
		if err != nil {
			return err
		}
		return os.Rename(partial, to)
	})
}

func copyLink(from, to string) error {
	target, err := os.Readlink(from)
	if err != nil {
		return err
	}
	return os.Symlink(target, to)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	// ReadFrom lets the kernel copy (copy_file_range, sendfile).
	if _, err := out.ReadFrom(in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}
