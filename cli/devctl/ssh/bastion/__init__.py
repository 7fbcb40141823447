"""The bastion: connections to it and from it, and commands that run on it."""
