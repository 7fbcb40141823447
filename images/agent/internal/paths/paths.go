// Package paths holds the places of a dev server's files, and its ports.
package paths

const (
	// SSHPort is where sshd listens; AgentPort is where the agent answers the operator (core names.AGENT_PORT).
	SSHPort   = 2222
	AgentPort = 2224

	// Root is what the init container copies into the pod's volume.
	Root  = "/opt/devservers"
	Login = Root + "/bin/devserver-login"
	Sshd  = Root + "/sbin/sshd"
	Skel  = Root + "/etc/skel"

	// Keys is the mounted ConfigMap of the server, HostKey the mounted Secret.
	Keys            = "/etc/devservers/keys"
	HostKey         = "/etc/devservers/host-key/ssh_host_ed25519_key"
	HostCertificate = HostKey + "-cert.pub"

	// Setup is the mounted set-up of the person, absent where there is none.
	Setup = "/etc/devservers/setup"

	// Home is the person's home.
	Home = "/home/dev"

	// Run is in memory, for this pod's life. Passwd and Profile are made by `install` and mounted into /etc.
	Run          = "/run/devservers"
	Passwd       = Run + "/passwd"
	Profile      = Run + "/profile"
	Environment  = Run + "/environment"
	SshdConfig   = Run + "/sshd_config"
	SshdLog      = Run + "/sshd.log"
	SshdLogOlder = Run + "/sshd.log.1"
	// Motd is shown when somebody logs in.
	Motd         = Run + "/motd"
	CommandState = Run + "/command.json"

	// AgentSocket and RunsSocket are where the command `devserver` reaches the agent.
	AgentSocket = Run + "/agent.sock"
	RunsSocket  = Run + "/runs.sock"

	// TerminationLog is what Kubernetes keeps of the container's end, at most 4 KiB.
	TerminationLog = "/dev/termination-log"
)
