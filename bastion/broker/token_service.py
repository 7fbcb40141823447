"""What the broker may do at the API server, and how it refuses.

Invariant: every request is made for the one person it is called with; tokens and the CA are in memory and nowhere
else, and no error has a word of them.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from bastion.broker.certificate import load_authority, sign
from devctl.output.errors import from_api
from devctl.resources.people.users_api import change_keys
from devservers_core import names
from devservers_core.client.api import ApiClient
from devservers_core.client.credentials import certificate_authority
from devservers_core.client.kubeconfig import Target
from devservers_core.client.paths import user_path
from devservers_core.errors import FORBIDDEN, NOT_FOUND, USAGE, ApiError, CommandError, UnreachableError
from devservers_core.names import PERSON_ACCOUNT, TOKEN_TTL_SECONDS, USER_CA_ENTRY, USER_CA_SECRET
from devservers_core.protocol import ProtocolError
from devservers_core.protocol.broker import (
    CertificateAnswer,
    CertificateRequest,
    KeysAnswer,
    KeysRequest,
    Refusal,
    TokenAnswer,
    TokenRequest,
)
from devservers_core.ssh_certs import Authority
from devservers_core.types import Json

REUSE = timedelta(minutes=5)
"""A token with more than this left is given out again: a loop of logins must not become one of TokenRequests."""
CA_SECONDS = 300.0
"""How long the CA is used before it is read again."""


class TokenService:
    """Answers requests; for several threads."""

    def __init__(self, target: Target, namespace: str, now: Callable[[], datetime]) -> None:
        """`target` is the broker's own identity, `namespace` where the operator keeps the CA."""
        self._target = target
        self._namespace = namespace
        self._now = now
        self._lock = threading.Lock()
        self._local = threading.local()
        self._tokens: dict[str, TokenAnswer] = {}
        self._ca: tuple[float, Authority] | None = None
        self._trust = certificate_authority(target.cluster)

    def answer(self, user: str, request: TokenRequest | CertificateRequest | KeysRequest) -> Json:
        """The message that answers a request of `user`."""
        return self._answer(user, request).message()

    def _answer(
        self, user: str, request: TokenRequest | CertificateRequest | KeysRequest
    ) -> TokenAnswer | CertificateAnswer | KeysAnswer | Refusal:
        try:
            match request:
                case TokenRequest():
                    return self.token(user, request.fresh)
                case CertificateRequest():
                    return CertificateAnswer(sign(self._authority(), request.public_key, user, self._now()))
                case KeysRequest():
                    return self.keys(user, request.change)
        except ProtocolError as error:
            return Refusal(str(error), "report this", USAGE)
        except CommandError as failure:
            return Refusal(failure.what, failure.remedy, failure.code)
        except ApiError as error:
            return _refusal(error, user)
        except UnreachableError:
            remedy = "try again in a moment; if it goes on, tell an administrator"
            return Refusal("the cluster does not answer", remedy)
        except ValueError as error:
            return Refusal(f"the bastion is not set up: {error}", "tell an administrator")

    def token(self, user: str, fresh: bool = False) -> TokenAnswer:
        """A token for the person's own namespace.

        A `fresh` one when the cluster no longer takes the last one.

        Raises ApiError, UnreachableError.
        """
        with self._lock:
            cached = None if fresh else self._tokens.get(user)
        if cached is None or datetime.fromisoformat(cached.expires_at) - self._now() < REUSE:
            cached = self._new_token(user)
            with self._lock:
                now = self._now()
                self._tokens = {
                    name: token
                    for name, token in self._tokens.items()
                    if datetime.fromisoformat(token.expires_at) > now
                } | {user: cached}
        return cached

    def keys(self, user: str, change: Mapping[str, Any]) -> KeysAnswer:
        """The person's own keys, after the change that is asked for.

        Raises CommandError, ApiError, UnreachableError.
        """
        kube = self._kube()
        if change:
            change_keys(kube, user, change)
        spec = kube.get(user_path(user)).get("spec") or {}
        return KeysAnswer({key: spec.get(key) or [] for key in ("sshPublicKeys", "sshKeys")})

    def _new_token(self, user: str) -> TokenAnswer:
        namespace = names.namespace_of(user)
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": TOKEN_TTL_SECONDS},
        }
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{PERSON_ACCOUNT}/token"
        # A second token does no harm, and a connection that a load balancer has forgotten must cost nobody their login.
        status = self._kube().request("POST", path, body=body, repeatable=True)["status"]
        return TokenAnswer(
            token=status["token"],
            expires_at=status["expirationTimestamp"],
            server=self._target.server,
            certificate_authority=self._trust,
            namespace=namespace,
            user=user,
        )

    def _authority(self) -> Authority:
        with self._lock:
            cached = self._ca
        if cached is None or time.monotonic() - cached[0] > CA_SECONDS:
            path = f"/api/v1/namespaces/{self._namespace}/secrets/{USER_CA_SECRET}"
            try:
                secret = self._kube().get(path)
                cached = time.monotonic(), load_authority(base64.b64decode(secret["data"][USER_CA_ENTRY]).decode())
            except ApiError as error:
                if error.status != 404:
                    raise
                raise ValueError(f"there is no Secret {USER_CA_SECRET} yet; the first server makes it") from None
            except (KeyError, UnicodeDecodeError):
                raise ValueError(f"Secret {USER_CA_SECRET} has no {USER_CA_ENTRY}") from None
            with self._lock:
                self._ca = cached
        return cached[1]

    def _kube(self) -> ApiClient:
        client: ApiClient | None = getattr(self._local, "kube", None)
        if client is None:
            client = self._local.kube = ApiClient(self._target)
        return client


def _refusal(error: ApiError, user: str) -> Refusal:
    if error.status == 404:
        return Refusal(f"{user}'s namespace is not made yet", "try again in a minute", NOT_FOUND)
    if error.status in (401, 403):
        remedy = "try again in a minute; else tell an administrator"
        return Refusal(f"the bastion may not do this for {user} (yet)", remedy, FORBIDDEN)
    failure = from_api(error, "do that")
    return Refusal(failure.what, failure.remedy, failure.code)


def utcnow() -> datetime:
    """The time."""
    return datetime.now(UTC)
