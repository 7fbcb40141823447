"""Shell completion: names of servers, flavors and volume claims, fixed words.

Invariant: completion never prints and never fails. When the cluster or the bastion does not answer it offers nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Lister = Callable[[Any], list[str]]
API_TIMEOUT_SECONDS = 2.0
"""Time-out of the API server: the user waits for it at the prompt."""
BASTION_TIMEOUT_SECONDS = 4.0
"""Time-out of an answer through the bastion."""


def _completer(lister: Lister, command: tuple[str, ...]) -> Callable[[Any, str], list[str]]:
    """Return a completer that lists names from the cluster.

    Through a bastion the names are what `command` prints there with `-o name`.
    """

    def complete(ctx: Any, incomplete: str) -> list[str]:  # noqa: ANN401 - typer's context
        from devctl.context import Context

        flags: dict[str, str | None] = {}
        while ctx is not None:
            for key in ("context", "kubeconfig", "namespace", "user"):
                flags.setdefault(key, ctx.params.get(key))
            ctx = ctx.parent
        try:
            context = Context(flags, None, timeout=API_TIMEOUT_SECONDS)
            names = _on_bastion(context, command)
            return [name for name in (lister(context) if names is None else names) if name.startswith(incomplete)]
        except Exception:
            return []

    # typer looks at the parameters' annotations; without them it goes by the names ctx and incomplete.
    complete.__annotations__ = {}
    return complete


def _fixed(choices: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [word for word in choices() if word.startswith(incomplete)]

    complete.__annotations__ = {}
    return complete


def _on_bastion(context: Any, command: tuple[str, ...]) -> list[str] | None:  # noqa: ANN401
    """List the names that a command prints on the bastion; None where none is configured."""
    import shlex
    import subprocess

    from devctl.ssh.bastion import endpoint

    bastion = endpoint.configured(context.config)
    if bastion is None:
        return None
    bastion.trust()
    # ssh takes the first value that it is given for an option.
    ssh, *options = bastion.ssh("-T")
    quick = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=2", "-o", "ConnectionAttempts=1"]
    done = subprocess.run(
        [ssh, *quick, *options, shlex.join([*command, "-o", "name"])],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        timeout=BASTION_TIMEOUT_SECONDS, check=True,
    )  # fmt: skip
    return [line.rpartition("/")[2] for line in done.stdout.splitlines() if line.strip()]


def _names(document: dict[str, Any]) -> list[str]:
    return [item["metadata"]["name"] for item in document.get("items") or []]


def _servers(context: Any) -> list[str]:  # noqa: ANN401
    return [server["metadata"]["name"] for server in context.servers()]


def _flavors(context: Any) -> list[str]:  # noqa: ANN401
    from devservers_core.client.paths import flavor_path

    return _names(context.kube.get(flavor_path()))


def _claims(context: Any) -> list[str]:  # noqa: ANN401
    from devservers_core.client.paths import core_path

    return _names(context.kube.get(core_path(context.namespace, "persistentvolumeclaims")))


def _outputs() -> Iterable[str]:
    from devctl.config import OUTPUTS

    return OUTPUTS


def _keys() -> Iterable[str]:
    from devctl.config import KEYS

    return KEYS


def _editors() -> Iterable[str]:
    from devctl.ssh.editor_links import EDITORS

    return EDITORS


servers = _completer(_servers, ("devctl", "list"))
flavors = _completer(_flavors, ("devctl", "flavors"))
claims = _completer(_claims, ("devctl", "volume", "list"))
outputs = _fixed(_outputs)
keys = _fixed(_keys)
editors = _fixed(_editors)
FROM_CLUSTER: dict[str, Lister] = {"servers": _servers, "flavors": _flavors}
"""For the bastion's prompt, which has a Context already."""
