package sshd

import (
	"errors"
	"io"
	"net"
	"strconv"
	"time"

	"devservers.io/agent/internal/paths"
)

// Await waits until sshd speaks on this pod's loopback.
func Await(limit time.Duration) error {
	return await(net.JoinHostPort("127.0.0.1", strconv.Itoa(paths.SSHPort)), limit)
}

func await(address string, limit time.Duration) error {
	for until := time.Now().Add(limit); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if answers(address) {
			return nil
		}
	}
	return errors.New("sshd does not answer")
}

// answers tells whether sshd says the beginning of its version now.
func answers(address string) bool {
	connection, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	defer connection.Close()
	_ = connection.SetReadDeadline(time.Now().Add(time.Second))
	word := make([]byte, 4)
	_, err = io.ReadFull(connection, word)
	return err == nil && string(word) == "SSH-"
}
