package activity

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
)

// Of linux/sock_diag.h, linux/inet_diag.h and linux/tcp.h.
const (
	netlinkSockDiag    = 4
	sockDiagByFamily   = 20
	inetDiagInfo       = 2
	tcpEstablished     = 1
	requestSize        = 56
	messageSize        = 72
	tcpInfoAcked       = 120 // offset of tcpi_bytes_acked; tcpi_bytes_received follows
	maxConnections     = 4096
	receiveSeconds     = 2
	maxReceivedBuffers = 4096
)

var errSockDiag = errors.New("the kernel's list of connections can't be read")

// ListConnections returns a function that lists the established connections at a local port, by NETLINK_SOCK_DIAG. It
// needs no right: a network namespace shows its own connections to everybody in it.
func ListConnections(port uint16) func() ([]Connection, error) {
	return func() ([]Connection, error) {
		var all []Connection
		// sshd's socket is of either family; IPv4 connections of an IPv6 socket are listed as IPv6.
		for _, family := range []byte{syscall.AF_INET, syscall.AF_INET6} {
			some, err := list(family, port)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", errSockDiag, err)
			}
			all = append(all, some...)
		}
		return all, nil
	}
}

func list(family byte, port uint16) ([]Connection, error) {
	socket, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, netlinkSockDiag)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(socket)
	limit := syscall.Timeval{Sec: receiveSeconds}
	if err := syscall.SetsockoptTimeval(socket, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &limit); err != nil {
		return nil, err
	}
	if err := syscall.Sendto(socket, request(family, port), 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return nil, err
	}
	var connections []Connection
	buffer := make([]byte, 32*1024)
	for range maxReceivedBuffers {
		size, from, err := syscall.Recvfrom(socket, buffer, 0)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if kernel, ok := from.(*syscall.SockaddrNetlink); !ok || kernel.Pid != 0 {
			continue // only the kernel is asked
		}
		some, done, err := parseMessages(buffer[:size], port)
		if err != nil {
			return nil, err
		}
		if connections = append(connections, some...); len(connections) > maxConnections {
			return nil, errors.New("too many connections")
		}
		if done {
			return connections, nil
		}
	}
	return nil, errors.New("the kernel's answer has no end")
}

func request(family byte, port uint16) []byte {
	out := make([]byte, syscall.NLMSG_HDRLEN+requestSize)
	native := binary.NativeEndian
	native.PutUint32(out[0:], uint32(len(out)))
	native.PutUint16(out[4:], sockDiagByFamily)
	native.PutUint16(out[6:], syscall.NLM_F_REQUEST|syscall.NLM_F_DUMP)
	body := out[syscall.NLMSG_HDRLEN:]
	body[0], body[1], body[2] = family, syscall.IPPROTO_TCP, 1<<(inetDiagInfo-1)
	native.PutUint32(body[4:], 1<<tcpEstablished)
	binary.BigEndian.PutUint16(body[8:], port)
	return out
}

func parseMessages(buffer []byte, port uint16) ([]Connection, bool, error) {
	messages, err := syscall.ParseNetlinkMessage(buffer)
	if err != nil {
		return nil, false, err
	}
	var connections []Connection
	for _, message := range messages {
		switch message.Header.Type {
		case syscall.NLMSG_DONE:
			return connections, true, nil
		case syscall.NLMSG_ERROR:
			if len(message.Data) < 4 {
				return nil, false, errors.New("a short answer")
			}
			return nil, false, syscall.Errno(-int32(binary.NativeEndian.Uint32(message.Data)))
		case sockDiagByFamily:
			data := message.Data
			if len(data) < messageSize {
				return nil, false, errors.New("a short answer")
			}
			if binary.BigEndian.Uint16(data[4:]) != port || data[1] != tcpEstablished {
				continue
			}
			info := attribute(data[messageSize:], inetDiagInfo)
			if len(info) < tcpInfoAcked+16 {
				return nil, false, errors.New("the kernel counts no bytes of connections")
			}
			native := binary.NativeEndian
			connections = append(connections, Connection{
				ID:    string(data[4:52]), // addresses, ports and the kernel's cookie
				Bytes: native.Uint64(info[tcpInfoAcked:]) + native.Uint64(info[tcpInfoAcked+8:]),
			})
		}
	}
	return connections, false, nil
}

func attribute(data []byte, kind uint16) []byte {
	for len(data) >= 4 {
		size := int(binary.NativeEndian.Uint16(data))
		if size < 4 || size > len(data) {
			return nil
		}
		if binary.NativeEndian.Uint16(data[2:]) == kind {
			return data[4:size]
		}
		data = data[min(len(data), (size+3)&^3):]
	}
	return nil
}
