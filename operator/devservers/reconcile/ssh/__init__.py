"""SSH keys and certificates that the operator creates: of servers, of the bastion, and both CAs."""
