"""The SSH gateway: OpenSSH with accounts from the cluster, an audit log and a credential broker."""
