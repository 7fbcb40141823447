"""Installs the shipped session program in the pods of the bastion tests."""

from __future__ import annotations

import sysconfig
from pathlib import Path

from bastion.session.launcher import launcher_script
from tests.support.bastion.bastion import REPOSITORY, Replica

PACKAGES = (str(REPOSITORY), str(REPOSITORY / "core"), str(REPOSITORY / "cli"), sysconfig.get_paths()["purelib"])


SYSTEM_PYTHON = Path("/usr/bin/python3")
"""Preferred: an interpreter in somebody's home may find another one's library when it runs as another person."""


def ship(replica: Replica, **settings: str) -> None:
    """Puts the launcher where the image has it; `settings` are the entries of the stack's ConfigMap."""
    python = str(SYSTEM_PYTHON.resolve()) if SYSTEM_PYTHON.exists() else replica.python
    launcher = replica.root / "session"
    launcher.write_text(launcher_script(replica.paths, python, PACKAGES))
    launcher.chmod(0o755)
    folder = replica.paths.session_settings
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in settings.items():
        (folder / name).write_text(value + "\n")
