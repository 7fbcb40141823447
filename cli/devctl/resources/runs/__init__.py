"""Runs of a server: what is sent, what they are called, how they are followed."""
