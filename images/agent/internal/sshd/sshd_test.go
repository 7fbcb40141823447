package sshd

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestConfigNamesTheCertificateOnlyWhenThereIsOne(t *testing.T) {
	bare, certified := Config(false), Config(true)
	if strings.Contains(bare, "HostCertificate") || certified != bare+"HostCertificate /etc/devservers/host-key/ssh_host_ed25519_key-cert.pub\n" {
		t.Fatal(certified)
	}
	for _, line := range []string{"Port 2222\n", "AuthenticationMethods publickey\n", "PasswordAuthentication no\n", "AllowUsers dev\n"} {
		if !strings.Contains(bare, line) {
			t.Fatal(line)
		}
	}
}

func TestCertificateChangedIsSeenOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cert")
	certificate := NewCertificate(path)
	if certificate.Changed() {
		t.Fatal("none is a change")
	}
	for _, text := range []string{"one", "two"} {
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		if !certificate.Changed() || certificate.Changed() {
			t.Fatal(text)
		}
	}
	_ = os.Remove(path)
	if !certificate.Changed() || certificate.Changed() {
		t.Fatal("its end is no change")
	}
}

func TestLogStaysWithinTwoFiles(t *testing.T) {
	folder := t.TempDir()
	log := &Log{path: filepath.Join(folder, "log"), older: filepath.Join(folder, "older"), limit: 1000}
	line := append(bytes.Repeat([]byte("x"), 99), '\n')
	for range 55 {
		if size, err := log.Write(line); size != 100 || err != nil {
			t.Fatal(size, err)
		}
	}
	now, _ := os.ReadFile(log.path)
	older, _ := os.ReadFile(log.older)
	if len(now) != 500 || len(older) != 1000 {
		t.Fatal(len(now), len(older))
	}
	none := &Log{path: filepath.Join(folder, "none", "log"), limit: 1000}
	if size, err := none.Write(line); size != 100 || err != nil {
		t.Fatal("a log that can't be written stops sshd's output", size, err)
	}
}

func TestAwaitWaitsForSshAndNothingElse(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for number := 0; ; number++ {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = connection.Write([]byte([]string{"HTTP/1.1", "SS", "SSH-2.0"}[min(number, 2)]))
			_ = connection.Close()
		}
	}()
	if err := await(listener.Addr().String(), 20*time.Second); err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	if err := await(address, 50*time.Millisecond); err == nil {
		t.Fatal("nobody answered")
	}
}
