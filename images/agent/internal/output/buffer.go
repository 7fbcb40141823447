// Package output passes the command's output on and keeps its last lines.
package output

import (
	"bytes"
	"strings"
	"sync"
)

const (
	// MaxLines and MaxBytes are how much of the end is kept.
	MaxLines = 100
	MaxBytes = 12 * 1024
	// maxPartial is how long a line may get before it is kept as two.
	maxPartial = 2 * 1024
)

// Buffer keeps the last lines of several streams, each line whole.
type Buffer struct {
	mutex   sync.Mutex
	text    []byte // whole lines, each with its line break; at most twice MaxBytes
	streams []*Stream
}

// Stream is one of the streams; a line of it is kept when it is complete.
type Stream struct {
	buffer  *Buffer
	partial []byte
}

// Stream returns a new stream.
func (b *Buffer) Stream() *Stream {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	stream := &Stream{buffer: b}
	b.streams = append(b.streams, stream)
	return stream
}

// Keep takes the next part of a stream.
func (s *Stream) Keep(data []byte) {
	s.buffer.mutex.Lock()
	defer s.buffer.mutex.Unlock()
	if len(data) > 2*MaxBytes {
		// Whatever stands before is not kept anyway.
		s.partial = s.partial[:0]
		data = data[len(data)-MaxBytes:]
	}
	for len(data) > 0 {
		end := bytes.IndexByte(data, '\n')
		size := end
		if end < 0 {
			size = len(data)
		}
		size = min(size, maxPartial-len(s.partial))
		s.partial = append(s.partial, data[:size]...)
		if size == end {
			data = data[size+1:]
		} else {
			data = data[size:]
			if len(s.partial) < maxPartial {
				return
			}
		}
		s.buffer.add(s.partial)
		s.partial = s.partial[:0]
	}
}

func (b *Buffer) add(line []byte) {
	b.text = append(append(b.text, line...), '\n')
	if len(b.text) > 2*MaxBytes {
		rest := b.text[len(b.text)-MaxBytes:]
		// From the beginning of a line on.
		rest = rest[bytes.IndexByte(rest, '\n')+1:]
		b.text = b.text[:copy(b.text, rest)]
	}
}

// Last returns the last lines, oldest first, as valid UTF-8 without line breaks.
func (b *Buffer) Last(maxLines, maxBytes int) []string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	text := append([]byte(nil), b.text...)
	for _, stream := range b.streams {
		if len(stream.partial) > 0 {
			text = append(append(text, stream.partial...), '\n')
		}
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(text) == 0 {
		return nil
	}
	size, from := 0, len(lines)
	for from > 0 && len(lines)-from < maxLines {
		lines[from-1] = strings.ToValidUTF8(strings.TrimSuffix(lines[from-1], "\r"), "\uFFFD")
		if size += len(lines[from-1]) + 1; size > maxBytes {
			break
		}
		from--
	}
	return lines[from:]
}
