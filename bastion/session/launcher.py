"""Writes the program that sshd starts for every session.

`python -m bastion.session.launcher > /usr/local/bin/devctl-session` in the image.

Invariant: the launcher depends on nothing that a client can say: no environment variable, no current folder, no
site-packages but the ones it was made with. It is each account's shell as well, because sshd runs ForceCommand by that.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bastion.paths import Paths


def launcher_script(paths: Paths, python: str, packages: Sequence[str]) -> str:
    """The launcher for an interpreter and the folders of its packages.

    -I and -S: measured, an interpreter that looks for site-packages takes 60 ms of CPU, one that doesn't 13.
    """
    arguments = (str(paths.audit_socket), str(paths.broker_socket), str(paths.session_settings))
    return (
        f"#!{python} -ISXutf8\n"
        "import sys\n"
        f"sys.path[:0] = {list(packages)!r}\n"
        "from bastion.session.__main__ import main\n"
        f"sys.exit(main{arguments!r})\n"
    )


if __name__ == "__main__":
    found = [folder for folder in sys.path if folder and (folder.endswith("-packages") or folder.startswith("/opt/"))]
    sys.stdout.write(launcher_script(Paths.of(), sys.executable, found))
