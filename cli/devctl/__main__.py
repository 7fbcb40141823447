"""Entry point: the console script, `python -m devctl`, and a session on the bastion.

Invariant: what needs nothing else is answered before anything else is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from devctl import __version__


def main(arguments: Sequence[str] | None = None) -> None:
    """Run devctl with `arguments`, or the process's own, and exit with the documented codes."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if list(arguments) in (["version"], ["--version"]):
        print(f"devctl {__version__}")
        return
    from devctl import app

    app.main(arguments)


if __name__ == "__main__":
    main()
