"""`devctl admin sessions`: recorded terminal sessions of the bastion.

Invariant: recordings are read where they are kept, by a program of the audit container, with an administrator's right
to exec there; nothing is copied, and a session's name is only an argument of that program.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from devctl.output.errors import from_api
from devservers_core import names
from devservers_core.errors import NOT_FOUND, ApiError, CommandError

if TYPE_CHECKING:
    from devctl.context import Context


SELECTOR = f"{names.LABEL_APP}={names.BASTION}"
PROGRAM = ("python3", "-m", "bastion.audit.recording")


def admin_sessions_list_command(
    context: Context, who: Annotated[str | None, typer.Argument(help="Of this user only.", metavar="NAME")] = None
) -> int:
    """List recorded sessions, one JSON object a line, of all replicas."""
    code = 0
    for pod in _bastion_pods(context):
        code = _run_recording_program(context, pod, ["list", *(["--user", who] if who else [])]) or code
    return code


def admin_sessions_play_command(
    context: Context,
    name: Annotated[str, typer.Argument(help="The session, as the list and the audit log name it.")],
    speed: Annotated[float, typer.Option(help="How many times as fast.", min=0.1, max=100)] = 1.0,
) -> int:
    """Show a recorded session again."""
    pods = _bastion_pods(context)
    # A session's name begins with its replica's, which is the pod's.
    pod = next((pod for pod in pods if name.startswith(f"{pod}-")), None)
    if pod is None:
        raise CommandError(
            f"there is no replica of the bastion that recorded {name[:80]!r}", "`devctl admin sessions list`", NOT_FOUND
        )
    return _run_recording_program(context, pod, ["play", name, "--speed", str(speed)])


def _bastion_pods(context: Context) -> list[str]:
    from devservers_core.client.paths import core_path

    try:
        items = context.kube.get(core_path(names.BASTION_NAMESPACE, "pods"), labelSelector=SELECTOR).get("items") or []
    except ApiError as error:
        raise from_api(error, "look at the bastion") from None
    running = [str(pod["metadata"]["name"]) for pod in items if (pod.get("status") or {}).get("phase") == "Running"]
    if not running:
        raise CommandError(
            "there is no running bastion on this cluster", "check the context with `devctl info`", NOT_FOUND
        )
    return running


def _run_recording_program(context: Context, pod: str, arguments: list[str]) -> int:
    from devctl.resources.exec_stream import run_in_container

    try:
        return run_in_container(
            context,
            (names.BASTION_NAMESPACE, pod, names.BASTION_AUDIT_CONTAINER),
            [*PROGRAM, *arguments],
            pod,
            terminal=False,
            stdin=False,
        )
    except ApiError as error:
        raise from_api(error, "read recordings") from None
