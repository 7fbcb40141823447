"""Reads and writes users and their SSH keys."""
