"""On the bastion: short-lived credentials of the person whose process this is, from the broker beside it.

Invariant: a token or a certificate that comes from here stays in this process's memory. Who asks is what the kernel
tells the broker; nothing that is sent says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from devservers_core.errors import FAILURE, CommandError

if TYPE_CHECKING:
    from devservers_core.client.kubeconfig import Target

VARIABLE = "DEVCTL_BROKER"
"""Environment variable with the broker's socket; set by the bastion's session program, for nobody else."""
SECONDS = 25.0
"""How long an answer may take: the broker asks the API server."""
EARLY = 60.0
"""Seconds before its end from which a token is not used any more."""
_AGAIN = "try again in a moment; if it goes on, tell an administrator"


def ask(path: str, request: Mapping[str, object]) -> dict[str, Any]:
    """One request; the answer. Raises CommandError: the broker is away, or says why not."""
    import socket

    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(SECONDS)
            connection.connect(path)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as answers:
                found = json.loads(answers.readline() or b"null")
    except (OSError, ValueError) as error:
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise CommandError(f"the bastion gives no credentials now: {text}", _AGAIN) from None
    if not isinstance(found, dict):
        raise CommandError("the bastion gives no credentials now: the broker hung up", _AGAIN)
    if "error" in found:
        raise CommandError(str(found["error"]), str(found.get("try") or _AGAIN), int(found.get("code") or FAILURE))
    return found


class Tokens:
    """Tokens of the person whose process this is; a TokenSource of core's client."""

    def __init__(self, path: str, grant: Mapping[str, Any]) -> None:
        """`grant` is the broker's first answer."""
        self._path = path
        self._grant = grant

    def token(self, refused: bool) -> str:
        """The last token, or a new one: what a command began with may end while it runs. Raises CommandError."""
        if refused or not fresh(self._grant):
            self._grant = ask(self._path, {"want": "token", "fresh": refused})
        return str(self._grant["token"])


def target(path: str) -> Target:
    """The API server and identity that the broker gives; `path` is its socket. Raises CommandError.

    On the bastion there is nothing else: a kubeconfig may name programs, and nobody's run there.
    """
    from devservers_core.client.kubeconfig import Target

    grant = ask(path, {"want": "token"})
    return Target(
        server=str(grant["server"]),
        context="bastion",
        source="the bastion's broker",
        namespace=str(grant["namespace"]),
        cluster={"certificate-authority-data": grant["certificateAuthority"]},
        tokens=Tokens(path, grant),
    )


def fresh(grant: Mapping[str, Any]) -> bool:
    """Whether a token's end is far enough."""
    return (datetime.fromisoformat(grant["expiresAt"]) - datetime.now(UTC)).total_seconds() > EARLY


def exec_credential(path: str) -> str:
    """What kubectl's log-in plugin protocol wants to read (client.authentication.k8s.io/v1). Raises CommandError."""
    grant = ask(path, {"want": "token"})
    return json.dumps(
        {
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": {"token": grant["token"], "expirationTimestamp": grant["expiresAt"]},
        }
    )
