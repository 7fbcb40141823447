"""Client of the bastion's broker: short-lived credentials of the calling user.

Invariant: a token or a certificate stays in this process's memory. The broker takes the caller's identity from the
kernel; nothing in a request names it.
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
"""Environment variable with the broker's socket, which the bastion's session program sets."""
TIMEOUT_SECONDS = 25.0
"""Time-out of a request: the broker calls the API server."""
EXPIRY_MARGIN_SECONDS = 60.0
"""A token that expires within these seconds is renewed."""
_TRY_AGAIN = "try again in a moment; if it goes on, tell an administrator"


def send_request(path: str, request: protocol.Request[A]) -> A:
    """Send one request to the broker and return its answer.

    Raises CommandError when the broker does not answer, or refuses with its reason.
    """
    import socket

    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT_SECONDS)
            connection.connect(path)
            connection.sendall(protocol.encode(request.message()))
            with connection.makefile("rb") as answers:
                message = json.loads(answers.readline() or b"null")
        if not isinstance(message, dict):
            raise ProtocolError("the broker closed the connection")
        refusal = protocol.parse_refusal(message)
        answer = None if refusal else request.parse_answer(message)
    except (OSError, ValueError) as error:
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise CommandError(f"the bastion gives no credentials now: {text}", _TRY_AGAIN) from None
    if answer is None:
        assert refusal is not None, "it is one or the other"
        raise CommandError(refusal.error, refusal.remedy, refusal.code)
    return answer


class BrokerTokens:
    """Tokens of the calling user, renewed from the broker; a TokenSource of core's client."""

    def __init__(self, path: str, grant: TokenAnswer) -> None:
        """`grant` is the broker's first answer."""
        self._path = path
        self._grant = grant

    def token(self, refused: bool) -> str:
        """Return the last token, or a new one if it expires soon. Raises CommandError."""
        if refused or not is_fresh(self._grant):
            self._grant = send_request(self._path, TokenRequest(fresh=refused))
        return self._grant.token


def target(path: str) -> Target:
    """Return the API server and identity that the broker gives. Raises CommandError.

    `path` is the broker's socket. A kubeconfig is never read on the bastion: it may name programs to run.
    """
    from devservers_core.client.kubeconfig import Target

    grant = send_request(path, TokenRequest())
    return Target(
        server=grant.server,
        context="bastion",
        source="the bastion's broker",
        namespace=grant.namespace,
        cluster={"certificate-authority-data": grant.certificate_authority},
        tokens=BrokerTokens(path, grant),
    )


def is_fresh(grant: TokenAnswer) -> bool:
    """Whether a token is valid for longer than EXPIRY_MARGIN_SECONDS."""
    return (datetime.fromisoformat(grant.expires_at) - datetime.now(UTC)).total_seconds() > EXPIRY_MARGIN_SECONDS


def exec_credential(path: str) -> str:
    """Return an ExecCredential for kubectl (client.authentication.k8s.io/v1).

    Raises CommandError.
    """
    grant = send_request(path, TokenRequest())
    return json.dumps(
        {
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": {"token": grant.token, "expirationTimestamp": grant.expires_at},
        }
    )
