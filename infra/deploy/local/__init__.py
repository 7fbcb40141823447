"""Deploys the stack `local` to a cluster on this machine."""
