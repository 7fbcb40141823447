// Package home fills a new home from the image's /etc/skel, or from ours where the image has none.
//
// Invariant: only an empty home is filled, and no file is ever replaced. What can't be copied keeps nothing else away.
//
// bash reads ~/.bashrc in a login shell only when ~/.profile (or another of three) says so. So a home that has none of
// the three gets one, however old it is.
package home

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"devservers.io/agent/internal/shell"
)

var profiles = []string{".bash_profile", ".bash_login", ".profile"}

// Folders are the places that a home is made from.
type Folders struct {
	Home      string
	ImageSkel string
	OwnSkel   string
}

// Prepare gives the home what it lacks; the error is the first of those that kept a file away.
func (f Folders) Prepare(imageShell string) error {
	fresh := empty(f.Home)
	var first error
	if fresh {
		first = f.copySkel()
	}
	if !shell.IsBash(imageShell) {
		return first
	}
	if err := f.addProfile(); first == nil {
		first = err
	}
	if fresh && !exists(f.Home, ".bashrc") {
		if err := f.copyName(f.OwnSkel, ".bashrc"); first == nil {
			first = err
		}
	}
	return first
}

// empty tells whether a folder has nothing but what the file system itself puts there.
func empty(folder string) bool {
	opened, err := os.Open(folder)
	if err != nil {
		return false
	}
	defer opened.Close()
	for {
		names, err := opened.Readdirnames(16)
		for _, name := range names {
			if name != "lost+found" {
				return false
			}
		}
		if err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}

func exists(folder, name string) bool {
	_, err := os.Lstat(filepath.Join(folder, name))
	return err == nil
}

func readable(path string) bool { return syscall.Access(path, 4) == nil } // R_OK

func (f Folders) copySkel() error {
	var first error
	note := func(err error) {
		if err != nil && first == nil && !errors.Is(err, fs.ErrExist) {
			first = err
		}
	}
	_ = filepath.WalkDir(f.ImageSkel, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			if path == f.ImageSkel && errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			note(err)
			return nil
		}
		relative, _ := filepath.Rel(f.ImageSkel, path)
		to := filepath.Join(f.Home, relative)
		info, err := entry.Info()
		switch {
		case relative == ".":
		case err != nil:
			note(err)
		case entry.Type()&fs.ModeSymlink == 0 && !readable(path):
			// What can't be read stays where it is, and what is no file as well.
			if entry.IsDir() {
				return fs.SkipDir
			}
		case entry.IsDir():
			if err := os.Mkdir(to, info.Mode().Perm()|0o700); err != nil && !errors.Is(err, fs.ErrExist) {
				note(err)
				return fs.SkipDir
			}
		case entry.Type().IsRegular():
			note(copyFile(path, to, info.Mode().Perm()|0o600))
		case entry.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err == nil {
				err = os.Symlink(target, to)
			}
			note(err)
		}
		return nil
	})
	return first
}

// copyFile makes a new file; a copy that fails half-way is taken away again.
func copyFile(from, to string, mode os.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if closed := out.Close(); err == nil {
		err = closed
	}
	if err != nil {
		_ = os.Remove(to)
	}
	return err
}

func (f Folders) copyName(folder, name string) error {
	err := copyFile(filepath.Join(folder, name), filepath.Join(f.Home, name), 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func (f Folders) addProfile() error {
	for _, name := range profiles {
		if exists(f.Home, name) {
			return nil
		}
	}
	for _, name := range profiles {
		if readable(filepath.Join(f.ImageSkel, name)) {
			return f.copyName(f.ImageSkel, name)
		}
	}
	return f.copyName(f.OwnSkel, ".profile")
}
