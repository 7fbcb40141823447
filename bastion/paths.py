"""Paths that the containers of the bastion's pod share.

Invariant: every path that two containers of the bastion's pod must agree on is spelled once, here.

BASTION_ROOT puts all of them below another folder, so that tests can run several bastions on one machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

GROUP = "devservers-users"
"""Whom sshd lets in; every account is a member, and nobody else."""
GROUP_ID = 19999
FIRST_UID = 20000
"""Accounts have this uid or a higher one; libnss-extrausers ignores low ones, and so does everything here."""
ACCESS_FILE = "access.json"
STATE_FILE = "state.json"


@dataclass(frozen=True)
class Paths:
    """The paths below one root."""

    root: Path = Path("/")

    @classmethod
    def of(cls, env: Mapping[str, str] | None = None) -> Paths:
        """The paths that $BASTION_ROOT asks for; the pod's own without it."""
        environ = os.environ if env is None else env
        return cls(Path(environ.get("BASTION_ROOT") or "/"))

    @property
    def accounts(self) -> Path:
        """Generations of accounts, and the link `current` to one of them.

        keysync writes, all others read.
        """
        return self.root / "run/bastion/accounts"

    @property
    def current(self) -> Path:
        """The generation in force: passwd, shadow, group, keys/USER, access.json, state.json."""
        return self.accounts / "current"

    @property
    def sockets(self) -> Path:
        """Where the pod's processes meet, a folder for each that serves."""
        return self.root / "run/bastion/sockets"

    @property
    def audit_socket(self) -> Path:
        """JSON lines; see devservers_core.protocol.audit."""
        return self.sockets / "audit" / "audit.sock"

    @property
    def broker_socket(self) -> Path:
        """JSON lines; see devservers_core.protocol.broker."""
        return self.sockets / "broker" / "broker.sock"

    @property
    def host(self) -> Path:
        """The host key and its certificate, from a Secret that all replicas share."""
        return self.root / "etc/bastion/host"

    @property
    def sshd(self) -> Path:
        """What the supervisor writes for sshd."""
        return self.root / "run/bastion/sshd"

    @property
    def extrausers(self) -> Path:
        """Links into `current`, where libnss-extrausers looks."""
        return self.root / "var/lib/extrausers"

    @property
    def recordings(self) -> Path:
        """Recorded sessions, a folder for each person."""
        return self.root / "var/lib/bastion/recordings"

    @property
    def session_settings(self) -> Path:
        """Settings of sessions, a mounted ConfigMap.

        Each entry is optional: kubectl (`true`: it may be run), address (HOST or HOST:PORT, as people reach this
        bastion), host_ca.pub (who vouches for host keys).
        """
        return self.root / "etc/bastion/session"
