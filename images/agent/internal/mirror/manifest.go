package mirror

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	// maxEntry and maxFiles bound a manifest.
	maxEntry = 4096 + 64
	maxFiles = 1_000_000
)

// entry is a file or a symbolic link of a folder: "TYPE MODE SIZE MTIME PATH", where TYPE is f or l.
type entry struct {
	link  bool
	mode  fs.FileMode
	size  int64
	mtime int64 // nanoseconds since 1970
	path  string
}

// readManifest reads entries, each ended by a NUL, to the empty entry that ends them.
func readManifest(in *bufio.Reader) ([]entry, error) {
	var entries []entry
	seen := map[string]bool{}
	for {
		text, err := readEntry(in)
		if err != nil {
			return nil, err
		}
		if text == "" {
			return entries, nil
		}
		parsed, err := parseEntry(text)
		if err != nil {
			return nil, err
		}
		if seen[parsed.path] {
			return nil, fmt.Errorf("%q comes twice", parsed.path)
		}
		seen[parsed.path] = true
		if entries = append(entries, parsed); len(entries) > maxFiles {
			return nil, fmt.Errorf("these are more than %d files", maxFiles)
		}
	}
}

func readEntry(in *bufio.Reader) (string, error) {
	var text []byte
	for {
		char, err := in.ReadByte()
		switch {
		case err != nil:
			return "", errors.New("the list of files is cut off")
		case char == 0:
			return string(text), nil
		case len(text) == maxEntry:
			return "", errors.New("the name of a file is too long")
		}
		text = append(text, char)
	}
}

func parseEntry(text string) (entry, error) {
	fields := strings.SplitN(text, " ", 5)
	if len(fields) != 5 || (fields[0] != "f" && fields[0] != "l") {
		return entry{}, fmt.Errorf("%.80q is no file of a list", text)
	}
	mode, modeError := strconv.ParseUint(fields[1], 8, 9)
	size, sizeError := strconv.ParseInt(fields[2], 10, 64)
	mtime, mtimeError := strconv.ParseInt(fields[3], 10, 64)
	parsed := entry{fields[0] == "l", fs.FileMode(mode), size, mtime, fields[4]}
	if err := errors.Join(modeError, sizeError, mtimeError); err != nil || size < 0 || (parsed.link && size > maxEntry) {
		return parsed, fmt.Errorf("%.80q is no file of a list", text)
	}
	if !filepath.IsLocal(parsed.path) || filepath.Clean(parsed.path) != parsed.path || parsed.path == "." {
		return parsed, fmt.Errorf("%.80q is no name of a file within a folder", parsed.path)
	}
	return parsed, nil
}

// isIn is whether a folder has the file as the manifest says. A symbolic link is always sent anew.
func (entry entry) isIn(folder string) bool {
	info, err := os.Lstat(filepath.Join(folder, entry.path))
	return err == nil && !entry.link && info.Mode().IsRegular() && info.Mode().Perm() == entry.mode &&
		info.Size() == entry.size && info.ModTime().UnixNano() == entry.mtime
}
