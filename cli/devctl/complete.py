"""What the shell offers on Tab: names of servers, flavors and volume claims.

Invariant: completion never prints and never fails; when the cluster is away it offers nothing, soon.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Lister = Callable[[Any], list[str]]


def _completer(lister: Lister) -> Callable[[Any, str], list[str]]:
    def complete(ctx: Any, incomplete: str) -> list[str]:  # noqa: ANN401 - typer's context
        from devctl import kube
        from devctl.session import Session

        kube.TIMEOUT = 2.0  # a person is waiting with the finger on Tab
        flags: dict[str, str | None] = {}
        while ctx is not None:
            for key in ("context", "kubeconfig", "namespace", "user"):
                flags.setdefault(key, ctx.params.get(key))
            ctx = ctx.parent
        try:
            return [name for name in lister(Session(flags, None)) if name.startswith(incomplete)]
        except Exception:
            return []

    # typer looks at the parameters' annotations; without them it goes by the names ctx and incomplete.
    complete.__annotations__ = {}
    return complete


def _names(document: dict[str, Any]) -> list[str]:
    return [item["metadata"]["name"] for item in document.get("items") or []]


def _servers(session: Any) -> list[str]:  # noqa: ANN401
    return [server["metadata"]["name"] for server in session.servers()]


def _flavors(session: Any) -> list[str]:  # noqa: ANN401
    from devctl.kube import flavor_path

    return _names(session.kube.get(flavor_path()))


def _claims(session: Any) -> list[str]:  # noqa: ANN401
    from devctl.kube import core_path

    return _names(session.kube.get(core_path(session.namespace, "persistentvolumeclaims")))


servers = _completer(_servers)
flavors = _completer(_flavors)
claims = _completer(_claims)
