package local

import (
	"bufio"
	"encoding/json"
	"errors"
	"net"
	"time"
)

// Call sends one request and reads its response; the connection stays open for the caller to close.
func Call(socket string, request, response any) (net.Conn, error) {
	unreachable := errors.New("the server's agent can't be reached at " + socket)
	conn, err := net.DialTimeout("unix", socket, requestTimeout)
	if err != nil {
		return nil, unreachable
	}
	_ = conn.SetDeadline(time.Now().Add(requestTimeout))
	text, err := json.Marshal(request)
	if err == nil {
		_, err = conn.Write(append(text, '\n'))
	}
	if err == nil {
		var line []byte
		if line, err = bufio.NewReader(conn).ReadBytes('\n'); err == nil {
			err = json.Unmarshal(line, response)
		}
	}
	if err != nil {
		conn.Close()
		return nil, unreachable
	}
	_ = conn.SetDeadline(time.Time{})
	return conn, nil
}
