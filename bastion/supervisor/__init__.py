"""PID 1 of the sshd container."""
