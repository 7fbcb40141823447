"""devctl: the command line of the development servers' users and administrators."""

from devservers_core.version import __version__ as __version__
