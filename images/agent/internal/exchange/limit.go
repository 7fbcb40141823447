package exchange

import (
	"container/list"
	"net"
	"sync"
)

const (
	maxConnections  = 16
	maxOfOneAddress = 4
)

// limitListener lets few connections in at once: a further one of the same address is closed, and when all are taken
// the oldest gives way, so that silent strangers never keep the operator out.
type limitListener struct {
	net.Listener

	mutex   sync.Mutex
	open    *list.List // of *limited, oldest first
	address map[string]int
}

type limited struct {
	net.Conn
	listener *limitListener
	from     string
	element  *list.Element
	once     sync.Once
}

func limit(listener net.Listener) *limitListener {
	return &limitListener{Listener: listener, open: list.New(), address: map[string]int{}}
}

func (listener *limitListener) Accept() (net.Conn, error) {
	for {
		conn, err := listener.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if admitted := listener.admit(conn); admitted != nil {
			return admitted, nil
		}
		conn.Close()
	}
}

func (listener *limitListener) admit(conn net.Conn) net.Conn {
	from := conn.RemoteAddr().String()
	if host, _, err := net.SplitHostPort(from); err == nil {
		from = host
	}
	listener.mutex.Lock()
	var oldest *limited
	if listener.address[from] >= maxOfOneAddress {
		listener.mutex.Unlock()
		return nil
	}
	if listener.open.Len() >= maxConnections {
		oldest = listener.open.Front().Value.(*limited)
	}
	admitted := &limited{Conn: conn, listener: listener, from: from}
	admitted.element = listener.open.PushBack(admitted)
	listener.address[from]++
	listener.mutex.Unlock()
	if oldest != nil {
		oldest.Close()
	}
	return admitted
}

func (conn *limited) Close() error {
	conn.once.Do(func() {
		listener := conn.listener
		listener.mutex.Lock()
		defer listener.mutex.Unlock()
		listener.open.Remove(conn.element)
		if listener.address[conn.from]--; listener.address[conn.from] == 0 {
			delete(listener.address, conn.from)
		}
	})
	return conn.Conn.Close()
}
