"""The SSH gateway: OpenSSH, accounts, an audit log and a credential broker."""
