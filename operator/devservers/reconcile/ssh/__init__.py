"""The operator's SSH keys and certificates: of servers, the bastion and both CAs."""
