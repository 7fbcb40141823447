"""Where every run of devctl begins: the console script, `python -m devctl`, and a session on the bastion.

Invariant: what needs nothing else is answered before anything else is imported.
"""

from __future__ import annotations

import sys

from devctl import __version__


def main() -> None:
    """Console script: run and exit with the documented codes."""
    if sys.argv[1:] in (["version"], ["--version"]):
        print(f"devctl {__version__}")
        return
    from devctl import app

    app.main()


if __name__ == "__main__":
    main()
