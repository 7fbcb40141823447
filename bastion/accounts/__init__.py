"""Accounts: DevServerUsers of the cluster as files that sshd reads (keysync)."""
