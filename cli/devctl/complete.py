"""What the shell offers on Tab: names of servers, flavors and volume claims, and words that are always the same.

Invariant: completion never prints and never fails; when the cluster or the bastion is away it offers nothing, soon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Lister = Callable[[Any], list[str]]
TIMEOUT = 2.0
"""Seconds: a person is waiting with the finger on Tab."""
BASTION_SECONDS = 4.0
"""Until an answer through the bastion is not waited for any more."""


def _completer(lister: Lister, command: tuple[str, ...]) -> Callable[[Any, str], list[str]]:
    """A completer that asks the cluster, or the bastion for what `command` prints with `-o name`."""

    def complete(ctx: Any, incomplete: str) -> list[str]:  # noqa: ANN401 - typer's context
        from devctl.session import Session

        flags: dict[str, str | None] = {}
        while ctx is not None:
            for key in ("context", "kubeconfig", "namespace", "user"):
                flags.setdefault(key, ctx.params.get(key))
            ctx = ctx.parent
        try:
            session = Session(flags, None, timeout=TIMEOUT)
            found = _on_bastion(session, command)
            return [name for name in (lister(session) if found is None else found) if name.startswith(incomplete)]
        except Exception:
            return []

    # typer looks at the parameters' annotations; without them it goes by the names ctx and incomplete.
    complete.__annotations__ = {}
    return complete


def _fixed(words: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [word for word in words() if word.startswith(incomplete)]

    complete.__annotations__ = {}
    return complete


def _on_bastion(session: Any, command: tuple[str, ...]) -> list[str] | None:  # noqa: ANN401
    """The names that a command prints on the bastion; None where none is configured."""
    import shlex
    import subprocess

    from devctl import jump

    bastion = jump.configured(session.config)
    if bastion is None:
        return None
    bastion.trust()
    # ssh takes the first value that it is given for an option.
    ssh, *options = bastion.ssh("-T")
    quick = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=2", "-o", "ConnectionAttempts=1"]
    done = subprocess.run(
        [ssh, *quick, *options, shlex.join([*command, "-o", "name"])],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        timeout=BASTION_SECONDS, check=True,
    )  # fmt: skip
    return [line.rpartition("/")[2] for line in done.stdout.splitlines() if line.strip()]


def _names(document: dict[str, Any]) -> list[str]:
    return [item["metadata"]["name"] for item in document.get("items") or []]


def _servers(session: Any) -> list[str]:  # noqa: ANN401
    return [server["metadata"]["name"] for server in session.servers()]


def _flavors(session: Any) -> list[str]:  # noqa: ANN401
    from devservers_core.client.paths import flavor_path

    return _names(session.kube.get(flavor_path()))


def _claims(session: Any) -> list[str]:  # noqa: ANN401
    from devservers_core.client.paths import core_path

    return _names(session.kube.get(core_path(session.namespace, "persistentvolumeclaims")))


def _outputs() -> Iterable[str]:
    from devctl.config import OUTPUTS

    return OUTPUTS


def _keys() -> Iterable[str]:
    from devctl.config import KEYS

    return KEYS


def _editors() -> Iterable[str]:
    from devctl.editors import EDITORS

    return EDITORS


servers = _completer(_servers, ("devctl", "list"))
flavors = _completer(_flavors, ("devctl", "flavors"))
claims = _completer(_claims, ("kubectl", "get", "persistentvolumeclaims"))
outputs = _fixed(_outputs)
keys = _fixed(_keys)
editors = _fixed(_editors)
FROM_CLUSTER: dict[str, Lister] = {"servers": _servers, "flavors": _flavors}
"""For who has a session already: the bastion's prompt."""
