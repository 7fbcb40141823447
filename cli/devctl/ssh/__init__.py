"""Connections to servers: over SSH, through the bastion and from it."""
