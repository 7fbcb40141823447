"""devctl: how a person works with development servers. Nothing here imports the operator."""

from devservers_core.version import __version__ as __version__
