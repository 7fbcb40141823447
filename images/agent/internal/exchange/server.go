// Package exchange is the agent's HTTP server: it takes signed plans and answers with reports.
//
// Invariant: a plan changes something only if the operator signed it for this pod, and never twice. Whoever else
// reaches the port gets one line, and holds up nobody.
package exchange

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"devservers.io/agent/internal/protocol"
)

const (
	timeout     = 5 * time.Second
	headerBytes = 4 * 1024
	maxKeyFile  = 1024
)

// Server answers exchanges and requests for metrics.
type Server struct {
	PodUID string
	// KeyFile has the operator's public key. It is read at each exchange: Kubernetes replaces it when it changes.
	KeyFile string
	// CounterFile keeps the last counter over a restart of the container, in which an older plan would be new again.
	CounterFile string
	// Handle takes over a plan and returns the report; it is called once at a time and must not wait for anything.
	Handle  func(plan *protocol.Plan) protocol.Report
	Metrics func() []byte

	mutex   sync.Mutex
	counter int64
	loaded  bool
}

// Serve answers requests until the listener is closed.
func (server *Server) Serve(listener net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+protocol.Path, server.exchange)
	mux.HandleFunc("GET /metrics", server.metrics)
	web := &http.Server{
		Handler: mux, ReadHeaderTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout, IdleTimeout: timeout,
		MaxHeaderBytes: headerBytes, DisableGeneralOptionsHandler: true,
		ErrorLog: log.New(io.Discard, "", 0), // strangers must not fill the log
	}
	web.SetKeepAlivesEnabled(false)
	return web.Serve(limit(listener))
}

func (server *Server) exchange(answer http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(answer, request.Body, protocol.MaxBytes))
	if err != nil {
		refuse(answer, http.StatusBadRequest, fmt.Errorf("the request can't be read, or is larger than %d bytes", protocol.MaxBytes))
		return
	}
	report, status, err := server.answer(body)
	if err != nil {
		refuse(answer, status, err)
		return
	}
	answer.Header().Set("Content-Type", "application/json")
	answer.Header().Set("Content-Length", strconv.Itoa(len(report)))
	_, _ = answer.Write(report)
}

var (
	errPod     = errors.New("the plan is another pod's")
	errCounter = errors.New("the plan is not newer than the last")
)

// answer is the report on a signed plan, or the status and the reason of the refusal.
func (server *Server) answer(body []byte) ([]byte, int, error) {
	server.mutex.Lock()
	defer server.mutex.Unlock()
	key, err := server.key()
	if err != nil {
		return nil, http.StatusForbidden, err
	}
	plan, err := protocol.Open(body, key)
	if errors.Is(err, protocol.ErrSignature) {
		return nil, http.StatusForbidden, err
	}
	if err != nil {
		return nil, http.StatusBadRequest, err
	}
	if plan.PodUID != server.PodUID {
		return nil, http.StatusForbidden, errPod
	}
	if plan.Counter <= server.lastCounter() {
		return nil, http.StatusForbidden, errCounter
	}
	server.counter = plan.Counter
	server.storeCounter()
	report := server.Handle(plan)
	report.PodUID, report.Counter = plan.PodUID, plan.Counter
	text, err := report.Encode()
	if err != nil {
		return nil, http.StatusInternalServerError, errors.New("the report can't be written")
	}
	return text, http.StatusOK, nil
}

func (server *Server) key() (ed25519.PublicKey, error) {
	file, err := os.Open(server.KeyFile)
	if err != nil {
		return nil, errors.New("the operator's public key can't be read")
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile))
	if err != nil {
		return nil, errors.New("the operator's public key can't be read")
	}
	return protocol.ParseKey(text)
}

func (server *Server) lastCounter() int64 {
	if !server.loaded {
		server.loaded = true
		if text, err := os.ReadFile(server.CounterFile); err == nil {
			server.counter, _ = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		}
	}
	return server.counter
}

func (server *Server) storeCounter() {
	if server.CounterFile == "" {
		return
	}
	text := strconv.FormatInt(server.counter, 10) + "\n"
	if os.WriteFile(server.CounterFile+".new", []byte(text), 0o600) == nil {
		_ = os.Rename(server.CounterFile+".new", server.CounterFile)
	}
}

func (server *Server) metrics(answer http.ResponseWriter, _ *http.Request) {
	answer.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = answer.Write(server.Metrics())
}

func refuse(answer http.ResponseWriter, status int, err error) {
	http.Error(answer, err.Error(), status)
}
