"""devctl: how a person works with development servers. Nothing here imports the operator."""

__version__ = "0.1.0"
"""The distribution's own, once more: reading it from the installation costs 30 ms of each `devctl version`."""
