package exchange

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"devservers.io/agent/internal/protocol"
)

type world struct {
	t       *testing.T
	server  *Server
	address string
	private ed25519.PrivateKey
	plans   []*protocol.Plan
}

func key(seed byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32)) }

func newWorld(t *testing.T) *world {
	folder := t.TempDir()
	world := &world{t: t, private: key(1)}
	world.server = &Server{
		PodUID: "pod", KeyFile: filepath.Join(folder, "agent.pub"), CounterFile: filepath.Join(folder, "counter"),
		Handle: func(plan *protocol.Plan) protocol.Report {
			world.plans = append(world.plans, plan)
			return protocol.Report{Source: protocol.Start}
		},
		Metrics: func() []byte { return []byte("devserver_idle_seconds 1\n") },
	}
	world.setKey(key(1))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	world.address = listener.Addr().String()
	go world.server.Serve(listener)
	return world
}

func (world *world) setKey(private ed25519.PrivateKey) {
	text := base64.StdEncoding.EncodeToString(private.Public().(ed25519.PublicKey))
	if err := os.WriteFile(world.server.KeyFile, []byte(text), 0o600); err != nil {
		world.t.Fatal(err)
	}
}

func (world *world) body(pod string, counter int) []byte {
	plan := fmt.Sprintf(`{"version":1,"podUid":%q,"server":"a/b","counter":%d}`, pod, counter)
	signature := ed25519.Sign(world.private, []byte(protocol.Context+plan))
	body, _ := json.Marshal(map[string]string{"plan": plan, "signature": base64.StdEncoding.EncodeToString(signature)})
	return body
}

func (world *world) post(body []byte) (int, string) {
	world.t.Helper()
	response, err := http.Post("http://"+world.address+protocol.Path, "application/json", bytes.NewReader(body))
	if err != nil {
		world.t.Fatal(err)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}

func (world *world) expect(body []byte, status int, part string) {
	world.t.Helper()
	got, text := world.post(body)
	if got != status || !strings.Contains(text, part) || strings.Count(text, "\n") > 1 {
		world.t.Errorf("%d %q, want %d %q", got, text, status, part)
	}
}

func TestExchangeAnswersASignedPlanOnce(t *testing.T) {
	world := newWorld(t)
	world.expect(world.body("pod", 5), 200, `"podUid":"pod","counter":5,`)
	world.expect(world.body("pod", 5), 403, "not newer")
	world.expect(world.body("pod", 4), 403, "not newer")
	world.expect(world.body("other", 6), 403, "another pod's")
	world.expect(world.body("pod", 7), 200, `"counter":7,`)
	if len(world.plans) != 2 {
		t.Error(world.plans)
	}
}

func TestExchangeRefusesAndChangesNothing(t *testing.T) {
	world := newWorld(t)
	world.private = key(2)
	world.expect(world.body("pod", 5), 403, "signature")
	world.expect([]byte("{}"), 403, "signature")
	world.expect([]byte("nonsense"), 400, "not a JSON object")
	world.expect(nil, 400, "not a JSON object")
	world.expect(bytes.Repeat([]byte(" "), protocol.MaxBytes+1), 400, "larger than")
	if len(world.plans) != 0 {
		t.Error(world.plans)
	}
	world.private = key(1)
	world.expect(world.body("pod", 1), 200, "")
}

func TestExchangeReadsTheKeyAnew(t *testing.T) {
	world := newWorld(t)
	world.expect(world.body("pod", 1), 200, "")
	world.setKey(key(2))
	world.expect(world.body("pod", 2), 403, "signature")
	world.private = key(2)
	world.expect(world.body("pod", 2), 200, "")
	os.WriteFile(world.server.KeyFile, []byte("AAAA"), 0o600)
	world.expect(world.body("pod", 3), 403, "32 bytes")
	os.Remove(world.server.KeyFile)
	world.expect(world.body("pod", 3), 403, "can't be read")
}

func TestExchangeKeepsTheCounterOverARestart(t *testing.T) {
	world := newWorld(t)
	world.expect(world.body("pod", 5), 200, "")
	again := &Server{PodUID: "pod", KeyFile: world.server.KeyFile, CounterFile: world.server.CounterFile, Handle: world.server.Handle}
	if _, status, err := again.answer(world.body("pod", 5)); status != 403 || err != errCounter {
		t.Error(status, err)
	}
	if _, status, err := again.answer(world.body("pod", 6)); status != 200 {
		t.Error(status, err)
	}
}

func TestOtherRequestsAreRefused(t *testing.T) {
	world := newWorld(t)
	for request, status := range map[string]int{
		"GET /metrics": 200, "GET /v1/exchange": 405, "PUT /v1/exchange": 405, "GET /": 404, "POST /metrics": 405,
		"GET /debug/pprof/": 404, "GET /../etc/passwd": 404,
	} {
		method, path, _ := strings.Cut(request, " ")
		conn, err := net.Dial("tcp", world.address)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", method, path)
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || response.StatusCode != status && response.StatusCode != 307 && response.StatusCode != 301 {
			t.Error(request, response, err)
		}
		conn.Close()
	}
	response, err := http.Get("http://" + world.address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(response.Body)
	if string(text) != "devserver_idle_seconds 1\n" || !strings.HasPrefix(response.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Errorf("%q %v", text, response.Header)
	}
}

// Connections that say nothing, half a header, or a body byte by byte end after five seconds.
func TestSlowClientsAreLetGo(t *testing.T) {
	world := newWorld(t)
	ended := make(chan error)
	for _, text := range []string{"", "POST /v1/exchange HTTP/1.1\r\nHost:", "POST /v1/exchange HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n{"} {
		go func() {
			conn, err := net.Dial("tcp", world.address)
			if err != nil {
				ended <- err
				return
			}
			defer conn.Close()
			fmt.Fprint(conn, text)
			conn.SetReadDeadline(time.Now().Add(8 * time.Second))
			_, err = io.Copy(io.Discard, conn)
			ended <- err
		}()
	}
	for range 3 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func TestManyHeadersAreRefused(t *testing.T) {
	world := newWorld(t)
	conn, err := net.Dial("tcp", world.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/exchange HTTP/1.1\r\nHost: a\r\nX: %s\r\n", strings.Repeat("x", 10_000))
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || response.StatusCode != 431 {
		t.Error(response, err)
	}
}

// A test's address is one, so others are made up.
type fakeConn struct {
	net.Conn
	from   string
	closed bool
}

type fakeAddress string

func (address fakeAddress) Network() string { return "tcp" }
func (address fakeAddress) String() string  { return string(address) }

func (conn *fakeConn) RemoteAddr() net.Addr { return fakeAddress(conn.from) }
func (conn *fakeConn) Close() error         { conn.closed = true; return nil }

func TestLimitListenerClosesTheOldestWhenAllAreTaken(t *testing.T) {
	listener := limit(nil)
	var all []*fakeConn
	open := func(from string) net.Conn {
		conn := &fakeConn{from: from}
		all = append(all, conn)
		return listener.admit(conn)
	}
	for i := range maxOfOneAddress {
		if open(fmt.Sprintf("10.0.0.1:%d", i)) == nil {
			t.Fatal(i)
		}
	}
	if open("10.0.0.1:99") != nil {
		t.Error("one address has more than its share")
	}
	if open("[fd00::1]:99") == nil {
		t.Error("another address has none")
	}
	for i := range maxConnections {
		if open(fmt.Sprintf("10.0.1.%d:1", i)) == nil {
			t.Fatal(i)
		}
	}
	if listener.open.Len() != maxConnections {
		t.Error(listener.open.Len())
	}
	for i, conn := range all[:6] {
		if conn.closed != (i != maxOfOneAddress) {
			t.Error(i, conn)
		}
	}
	for listener.open.Len() > 0 {
		conn := listener.open.Front().Value.(*limited)
		conn.Close()
		conn.Close()
	}
	if len(listener.address) != 0 {
		t.Error(listener.address)
	}
}

// The operator's answer comes while a neighbour holds all connections it can get.
func TestExchangeBesideSilentConnections(t *testing.T) {
	world := newWorld(t)
	for range maxOfOneAddress - 1 {
		conn, err := net.Dial("tcp", world.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	time.Sleep(100 * time.Millisecond)
	world.expect(world.body("pod", 1), 200, "")
}
