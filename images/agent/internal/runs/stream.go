package runs

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"devservers.io/agent/internal/mirror"
)

// frame is one line of JSON for devctl; after one of output its bytes follow.
type frame struct {
	// Kind is need, started, output, heard, ended or refused.
	Kind string `json:"kind"`
	// Need are the indices of the files whose content is to be sent.
	Need []int `json:"need,omitempty"`
	// Run and Dir are a started run's name and folder.
	Run string `json:"run,omitempty"`
	Dir string `json:"dir,omitempty"`
	// Next is the offset to go on from after output, Length how many bytes follow.
	Next   int64 `json:"next,omitempty"`
	Length int   `json:"length,omitempty"`
	// Word is what devctl said and the agent has done: cancel or kill.
	Word string `json:"word,omitempty"`
	// Record is that of a run that has ended.
	Record *Record `json:"record,omitempty"`
	Error  string  `json:"error,omitempty"`
	Code   int     `json:"code,omitempty"`
}

// stream is the server's end of a connection of `devctl run`: frames to devctl on standard output, and on standard input
// the files that it sends, and afterwards the lines cancel and kill.
type stream struct {
	client  client
	in      *bufio.Reader
	writing *sync.Mutex
}

func (client client) stream() stream {
	return stream{client, bufio.NewReaderSize(client.in, 256*1024), new(sync.Mutex)}
}

func (stream stream) send(frame frame, payload []byte) error {
	text, err := json.Marshal(frame)
	if err != nil {
		return err
	}
	stream.writing.Lock()
	defer stream.writing.Unlock()
	_, err = stream.client.out.Write(append(append(text, '\n'), payload...))
	return err
}

func (stream stream) refuse(code int, err error) int {
	_ = stream.send(frame{Kind: "refused", Error: err.Error(), Code: code}, nil)
	return code
}

// run receives the files of a run, starts it and follows it.
func (stream stream) run(options options) int {
	checked, _, err := stream.client.call(Request{Command: "check", Run: options.run})
	if err != nil {
		return stream.refuse(exitRefused, err)
	}
	name := checked.Name
	options.run.Name = name
	if options.mirror != "" {
		options.run.Dir = filepath.Join(stream.client.home, "runs", name)
		copied := mirror.Mirror(filepath.Join(stream.client.home, ".devservers", "src", options.mirror))
		need := func(need []int) error { return stream.send(frame{Kind: "need", Need: need}, nil) }
		if err := copied.Receive(stream.in, need, options.run.Dir); err != nil {
			return stream.refuse(exitRefused, err)
		}
	} else if options.run.Dir == "" {
		options.run.Dir = stream.client.home
	}
	if _, _, err := stream.client.call(Request{Command: "start", Run: options.run}); err != nil {
		if options.mirror != "" {
			_ = os.RemoveAll(options.run.Dir)
		}
		return stream.refuse(exitRefused, err)
	}
	if err := stream.send(frame{Kind: "started", Run: name, Dir: options.run.Dir}, nil); err != nil || options.detach {
		return 0
	}
	return stream.follow(name, 0)
}

// follow sends a run's output from an offset, with the rank before each line, until the run has ended or devctl is gone.
func (stream stream) follow(name string, from int64) int {
	record, err := stream.client.folder.Read(name)
	if err != nil {
		return stream.refuse(exitRefused, err)
	}
	output := &sender{stream: stream, next: from}
	if record.Processes <= 1 {
		output.ranks = prefixer{prefix: rankPrefix(0), within: stream.client.folder.within(name, from)}
	}
	ctx, gone := context.WithCancel(context.Background())
	defer gone()
	go stream.obey(name, gone)
	record, err = stream.client.folder.Follow(ctx, output, name, from, stream.client.ended)
	if ctx.Err() != nil {
		return exitCut
	}
	if err != nil {
		return stream.refuse(exitNoAnswer, err)
	}
	if err := stream.send(frame{Kind: "ended", Record: &record}, nil); err != nil {
		return exitCut
	}
	return 0
}

// obey does what devctl says, until it is gone.
func (stream stream) obey(name string, gone func()) {
	for {
		line, err := stream.in.ReadString('\n')
		if word := strings.TrimSpace(line); word == "cancel" || word == "kill" {
			// devctl says it again on another connection, and kills by Ctrl-C only after this frame.
			if _, _, err := stream.client.call(Request{Command: "cancel", Run: Record{Name: name}, Kill: word == "kill"}); err == nil {
				_ = stream.send(frame{Kind: "heard", Word: word}, nil)
			}
		}
		if err != nil {
			gone()
			return
		}
	}
}

// sender sends output in frames.
type sender struct {
	stream stream
	ranks  prefixer
	next   int64
}

// Write sends one frame.
func (sender *sender) Write(chunk []byte) (int, error) {
	shown := sender.ranks.add(chunk)
	sender.next += int64(len(chunk))
	if err := sender.stream.send(frame{Kind: "output", Next: sender.next, Length: len(shown)}, shown); err != nil {
		return 0, err
	}
	return len(chunk), nil
}

// within is whether an offset of a run's output lies within a line.
func (folder Folder) within(name string, offset int64) bool {
	file, err := os.Open(folder.Output(name))
	if err != nil || offset == 0 {
		return false
	}
	defer file.Close()
	last := []byte{'\n'}
	if _, err := file.ReadAt(last, offset-1); err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	return last[0] != '\n'
}
