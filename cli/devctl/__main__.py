"""Entry point: the console script, `python -m devctl`, and a session on the bastion.

Invariant: what needs nothing else is answered before anything else is imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from devctl import __version__


def main(arguments: Sequence[str] | None = None) -> None:
    """Run devctl with `arguments`, or the process's own, and exit with the documented codes."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # On the bastion devctl is part of the platform, so there is no other version to compare with.
    if list(arguments) == ["--version"] or (list(arguments) == ["version"] and os.environ.get("DEVCTL_BROKER")):
        print(f"devctl {__version__}")
        return
    from devctl import app

    app.main(arguments)


if __name__ == "__main__":
    main()
