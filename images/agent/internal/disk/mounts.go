package disk

import (
	"path/filepath"
	"strconv"
	"strings"
)

// Kinds of file systems whose size is the volume's when their root is mounted. A network file system's export may be
// a part of a larger one, and overlay is the container's own.
var ownKinds = map[string]bool{"ext2": true, "ext3": true, "ext4": true, "xfs": true, "btrfs": true, "f2fs": true}

// ownFileSystem says whether a path is the mount point of a whole file system, by /proc/self/mountinfo.
func ownFileSystem(mountinfo, path string) bool {
	own := false
	for line := range strings.Lines(mountinfo) {
		left, right, found := strings.Cut(line, " - ")
		fields, kind := strings.Fields(left), strings.Fields(right)
		if !found || len(fields) < 5 || len(kind) < 1 || unescape(fields[4]) != filepath.Clean(path) {
			continue
		}
		own = fields[3] == "/" && ownKinds[kind[0]] // the last mount covers those before
	}
	return own
}

// unescape reads the octal escapes of mountinfo.
func unescape(text string) string {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+3 < len(text) {
			if char, err := strconv.ParseUint(text[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(char))
				i += 3
				continue
			}
		}
		out.WriteByte(text[i])
	}
	return out.String()
}
