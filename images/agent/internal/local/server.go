// Package local connects the command `devserver` with the agent: one line of JSON each way over a socket of this account.
package local

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

const (
	requestTimeout = 5 * time.Second
	maxClients     = 64
)

// Listen opens a socket, for this account only.
func Listen(path string) (net.Listener, error) {
	_ = os.Remove(path)
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		listener.Close()
		return nil, err
	}
	return listener, nil
}

// Serve hands each connection's first line, of so many bytes at most, to answer, at most 64 at a time, until the listener
// is closed. The connection is closed when answer returns; it has a deadline of five seconds until answer takes that away.
func Serve(listener net.Listener, maxRequest int64, answer func(conn net.Conn, line []byte)) error {
	var clients atomic.Int32
	for {
		conn, err := listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			time.Sleep(time.Second) // too many open files
			continue
		}
		if clients.Add(1) > maxClients {
			clients.Add(-1)
			conn.Close()
			continue
		}
		go func() {
			defer clients.Add(-1)
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(requestTimeout))
			// A line that ends early reaches answer as it is, which finds that it is no JSON.
			line, _ := bufio.NewReader(io.LimitReader(conn, maxRequest)).ReadBytes('\n')
			answer(conn, line)
		}()
	}
}

// Reply writes one line of JSON; whether it could.
func Reply(conn net.Conn, response any) bool {
	text, err := json.Marshal(response)
	if err != nil {
		return false
	}
	_, err = conn.Write(append(text, '\n'))
	return err == nil
}
