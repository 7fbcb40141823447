package runs

import (
	"bytes"
	"io"
	"strconv"
)

// prefixer writes the rank before each line.
type prefixer struct {
	out    io.Writer
	prefix []byte
	within bool // a line has begun
}

// Write writes lines with the prefix; it counts the bytes without.
func (prefixer *prefixer) Write(chunk []byte) (int, error) {
	if _, err := prefixer.out.Write(prefixer.add(chunk)); err != nil {
		return 0, err
	}
	return len(chunk), nil
}

func (prefixer *prefixer) add(chunk []byte) []byte {
	if len(prefixer.prefix) == 0 {
		return chunk
	}
	added := make([]byte, 0, len(chunk)+len(chunk)/8)
	for len(chunk) > 0 {
		if !prefixer.within {
			added = append(added, prefixer.prefix...)
		}
		end := bytes.IndexByte(chunk, '\n') + 1
		prefixer.within = end == 0
		if end == 0 {
			end = len(chunk)
		}
		added, chunk = append(added, chunk[:end]...), chunk[end:]
	}
	return added
}

// picker writes the lines with a prefix, and those alone.
type picker struct {
	out    io.Writer
	prefix []byte
	strip  bool
	line   []byte // the beginning of a line that is not decided
	state  int
}

const (
	undecided = iota
	taken
	dropped
)

// Write writes what belongs to lines with the prefix.
func (picker *picker) Write(chunk []byte) (int, error) {
	var kept []byte
	for _, char := range chunk {
		if picker.state == undecided {
			picker.line = append(picker.line, char)
			if !bytes.HasPrefix(picker.prefix, picker.line) {
				picker.state = dropped
			} else if len(picker.line) == len(picker.prefix) {
				picker.state = taken
				if !picker.strip {
					kept = append(kept, picker.line...)
				}
			}
		} else if picker.state == taken {
			kept = append(kept, char)
		}
		if char == '\n' {
			picker.state, picker.line = undecided, picker.line[:0]
		}
	}
	_, err := picker.out.Write(kept)
	return len(chunk), err
}

func rankPrefix(rank int) []byte { return []byte("[" + strconv.Itoa(rank) + "] ") }

// ranked is where a run's output is written to for `logs`: with the rank before each line, and of one rank alone.
func ranked(out io.Writer, record Record, options options) io.Writer {
	switch {
	case record.Processes > 1 && options.rank >= 0:
		return &picker{out: out, prefix: rankPrefix(options.rank), strip: !options.ranks}
	case record.Processes <= 1 && options.ranks:
		return &prefixer{out: out, prefix: rankPrefix(0)}
	}
	return out
}
