"""On the bastion: short-lived credentials of the person whose process this is, from the broker beside it.

Invariant: a token or a certificate that comes from here stays in this process's memory. Who asks is what the kernel
tells the broker; nothing that is sent says so.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from devservers_core.errors import CommandError
from devservers_core.protocol import ProtocolError
from devservers_core.protocol import broker as protocol
from devservers_core.protocol.broker import TokenAnswer, TokenRequest

if TYPE_CHECKING:
    from devservers_core.client.kubeconfig import Target

A = TypeVar("A")
VARIABLE = "DEVCTL_BROKER"
"""Environment variable with the broker's socket; set by the bastion's session program, for nobody else."""
SECONDS = 25.0
"""How long an answer may take: the broker asks the API server."""
EARLY = 60.0
"""Seconds before its end from which a token is not used any more."""
_AGAIN = "try again in a moment; if it goes on, tell an administrator"


def ask(path: str, request: protocol.Request[A]) -> A:
    """One request; the answer. Raises CommandError: the broker is away, or says why not."""
    import socket

    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(SECONDS)
            connection.connect(path)
            connection.sendall(protocol.encode(request.message()))
            with connection.makefile("rb") as answers:
                message = json.loads(answers.readline() or b"null")
        if not isinstance(message, dict):
            raise ProtocolError("the broker hung up")
        refusal = protocol.parse_refusal(message)
        answer = None if refusal else request.parse_answer(message)
    except (OSError, ValueError) as error:
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise CommandError(f"the bastion gives no credentials now: {text}", _AGAIN) from None
    if answer is None:
        assert refusal is not None, "it is one or the other"
        raise CommandError(refusal.error, refusal.remedy, refusal.code)
    return answer


class Tokens:
    """Tokens of the person whose process this is; a TokenSource of core's client."""

    def __init__(self, path: str, grant: TokenAnswer) -> None:
        """`grant` is the broker's first answer."""
        self._path = path
        self._grant = grant

    def token(self, refused: bool) -> str:
        """The last token, or a new one: what a command began with may end while it runs. Raises CommandError."""
        if refused or not fresh(self._grant):
            self._grant = ask(self._path, TokenRequest(fresh=refused))
        return self._grant.token


def target(path: str) -> Target:
    """The API server and identity that the broker gives; `path` is its socket. Raises CommandError.

    On the bastion there is nothing else: a kubeconfig may name programs, and nobody's run there.
    """
    from devservers_core.client.kubeconfig import Target

    grant = ask(path, TokenRequest())
    return Target(
        server=grant.server,
        context="bastion",
        source="the bastion's broker",
        namespace=grant.namespace,
        cluster={"certificate-authority-data": grant.certificate_authority},
        tokens=Tokens(path, grant),
    )


def fresh(grant: TokenAnswer) -> bool:
    """Whether a token's end is far enough."""
    return (datetime.fromisoformat(grant.expires_at) - datetime.now(UTC)).total_seconds() > EARLY


def exec_credential(path: str) -> str:
    """What kubectl's log-in plugin protocol wants to read (client.authentication.k8s.io/v1). Raises CommandError."""
    grant = ask(path, TokenRequest())
    return json.dumps(
        {
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": {"token": grant.token, "expirationTimestamp": grant.expires_at},
        }
    )
