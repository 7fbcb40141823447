// Package sshd writes sshd's configuration and log, and asks whether it answers.
package sshd

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"devservers.io/agent/internal/environment"
	"devservers.io/agent/internal/paths"
)

// Config is sshd's configuration.
func Config(certified bool) string {
	lines := []string{
		fmt.Sprintf("Port %d", paths.SSHPort),
		"HostKey " + paths.HostKey,
		"PidFile none",
		"AuthorizedKeysFile " + paths.Keys + "/authorized_keys",
		// The bastion's short certificates; valid for the owner of this server only.
		"TrustedUserCAKeys " + paths.Keys + "/user_ca.pub",
		"AuthorizedPrincipalsFile " + paths.Keys + "/principals",
		// The keys lie on a read-only volume whose folders Kubernetes makes group-writable.
		"StrictModes no",
		"AllowUsers dev",
		"AuthenticationMethods publickey",
		// An agent offers its keys one after the other, and nothing can be guessed here.
		"MaxAuthTries 100",
		// Post-quantum with clients of 9.9 and later. Not sntrup761, the only such method of older ones: its keys take
		// a quarter of a second of every connection, which lies inside TLS anyway.
		"KexAlgorithms mlkem768x25519-sha256,curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256",
		"PasswordAuthentication no",
		"KbdInteractiveAuthentication no",
		"AllowAgentForwarding yes",
		"AllowTcpForwarding yes",
		"X11Forwarding no",
		"PrintMotd no",
		// Kubernetes' probe opens and closes a connection from the node's address, which people come from too.
		"PerSourcePenalties no",
		"MaxStartups 100:30:200",
		"MaxSessions 50",
		// A laptop that went to sleep is let go after three minutes.
		"ClientAliveInterval 60",
		"ClientAliveCountMax 3",
		"LogLevel INFO",
		"SshdSessionPath " + paths.Root + "/libexec/sshd-session",
		"SshdAuthPath " + paths.Root + "/libexec/sshd-auth",
		// Without a shell: there may be none, or one that prints and so spoils the protocol.
		"Subsystem sftp internal-sftp",
	}
	if certified {
		lines = append(lines, "HostCertificate "+paths.HostCertificate)
	}
	return strings.Join(lines, "\n") + "\n"
}

// StoreConfig writes the configuration whole or not at all: sshd may be reading it.
func StoreConfig() error {
	// Made before the CA was, a host key has no certificate until its operator has looked.
	certified := syscall.Access(paths.HostCertificate, 4) == nil
	return environment.Replace(paths.SshdConfig, []byte(Config(certified)), 0o600)
}

// Certificate remembers a host certificate.
type Certificate struct {
	path     string
	inode    uint64
	modified syscall.Timespec
}

// NewCertificate remembers the certificate as it is now.
func NewCertificate(path string) *Certificate {
	certificate := &Certificate{path: path}
	certificate.Changed()
	return certificate
}

// Changed tells whether the host certificate is another one than at the last call: the operator made or renewed it.
// Kubernetes puts new files in place of a Secret's old ones, all of them at once.
func (c *Certificate) Changed() bool {
	var now syscall.Stat_t
	if err := syscall.Stat(c.path, &now); err != nil {
		now = syscall.Stat_t{}
	}
	changed := now.Ino != c.inode || now.Mtim != c.modified
	c.inode, c.modified = now.Ino, now.Mtim
	return changed
}

// Argv is the command of sshd.
func Argv() []string { return []string{paths.Sshd, "-D", "-e", "-f", paths.SshdConfig} }

// LogFile is where the log goes.
func LogFile() *Log { return &Log{path: paths.SshdLog, older: paths.SshdLogOlder, limit: logSize} }

// Log is sshd's log: apart from the command's output, in two files that together never grow beyond half a mebibyte.
type Log struct {
	path, older string
	limit       int64
	file        *os.File
}

const logSize = 256 * 1024

// Write adds to the log. It never fails: sshd goes on without a log.
func (l *Log) Write(text []byte) (int, error) {
	if l.file != nil {
		info, err := l.file.Stat()
		if err == nil && info.Size()+int64(len(text)) > l.limit {
			_ = l.file.Close()
			l.file = nil
			_ = os.Rename(l.path, l.older)
		}
	}
	if l.file == nil {
		file, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return len(text), nil
		}
		l.file = file
	}
	_, _ = l.file.Write(text)
	return len(text), nil
}
