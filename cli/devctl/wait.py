"""Waiting for a server: the start timeline as it happens, and the reason while it does not.

Invariant: waiting changes nothing on the cluster; Ctrl-C and a time-out leave the server as it is and say
so. What a person sees is on stderr: redrawn in place on a terminal, one line per change otherwise.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from devctl import render
from devservers_core import names
from devservers_core.errors import INTERRUPTED, NOT_FOUND, TIMED_OUT, ApiError, CommandError, UnreachableError

if TYPE_CHECKING:
    from devctl.session import Session
    from devservers_core.types import Json

SILENT = 10.0  # seconds without any status after which the operator is suspected
STALE = 5.0  # seconds after which a status that looks old is believed: this clock and the cluster's may differ
UNSEEN = "the operator has not looked at it yet; `devctl status` shows whether it runs"


def ready_condition(server: Json) -> Json:
    """The condition Ready, or {} when there is none yet."""
    for condition in server.get("status", {}).get("conditions") or []:
        if condition.get("type") == "Ready":
            return dict(condition)
    return {}


def is_ready(server: Json) -> bool:
    """Whether the server runs, by a status that has seen the newest spec."""
    return _seen(server, server) and ready_condition(server).get("status") == "True"


def _seen(server: Json, written: Json) -> bool:
    """Whether a server's status is about the spec that was `written`, or a newer one."""
    newest = written["metadata"].get("generation", 0)
    return bool(server.get("status", {}).get("observedGeneration", 0) >= newest)


def stages(server: Json) -> list[tuple[str, float | None]]:
    """The timeline as (stage, seconds it took). Its first stage is when the start was asked for, or had to be made."""
    found: list[tuple[str, float | None]] = []
    before = None
    for entry in server.get("status", {}).get("timeline") or []:
        at = render.when(entry.get("at"))
        took = (at - (before or at)).total_seconds() if at else None
        found.append((render.clean(str(entry.get("stage", "?"))), max(took, 0.0) if took is not None else None))
        before = at or before
    return found


def last_start(server: Json) -> str | None:
    """When the person last created, started or restarted the server, RFC 3339."""
    annotations = server["metadata"].get("annotations") or {}
    found = [
        server["metadata"].get("creationTimestamp"),
        annotations.get(names.ANNOTATION_STARTED_AT),
        annotations.get(names.ANNOTATION_RESTARTED_AT),
    ]
    times = [(at, text) for text in found if (at := render.when(text))]
    return max(times)[1] if times else None


def begun(server: Json) -> bool:
    """Whether the status is about the last start that was asked for, and not about the one before."""
    asked = render.when(last_start(server))
    timeline = server.get("status", {}).get("timeline") or []
    first = render.when(timeline[0].get("at")) if timeline else None
    return asked is None or first is None or first >= asked.replace(microsecond=0)


def why(server: Json) -> str | None:
    """The reason a server is not ready, in the operator's plain words; None when there is nothing to say."""
    condition = ready_condition(server)
    if not condition or condition.get("status") == "True":
        return None
    text = condition.get("message") or condition.get("reason") or ""
    return render.clean(text) or None


@dataclass
class View:
    """What is known at one moment of waiting."""

    name: str
    started: float
    done: list[tuple[str, float | None]] = field(default_factory=list)
    phase: str = "Pending"
    reason: str | None = None
    doing: str = "starting"
    goal: str = "Running"

    def update(self, server: Json) -> None:
        """Take over a newer object, but for what its status still says of the start before."""
        old = not begun(server) and self.seconds < STALE
        self.done = [] if old else stages(server)
        if old and server.get("status", {}).get("phase") in ("Stopped", "Stopping"):
            return
        self.phase = render.clean(str(server.get("status", {}).get("phase") or "Pending"))
        self.reason = why(server)

    @property
    def seconds(self) -> float:
        """How long the wait has lasted."""
        return time.monotonic() - self.started


def stage_line(stage: str, took: float | None) -> str:
    """One finished stage."""
    return f"{stage:<18}{took:7.1f}s" if took is not None else stage


class Plain:
    """One line per change, for pipes and logs."""

    def __init__(self) -> None:
        self._shown = 0
        self._reason: str | None = None

    def show(self, view: View) -> None:
        """Print what is new."""
        if len(view.done) < self._shown:
            self._shown = 0  # a new pod: the timeline began anew
        for stage, took in view.done[self._shown :]:
            render.say("  " + stage_line(stage, took))
        self._shown = len(view.done)
        if view.reason and view.reason != self._reason:
            render.say(f"  {view.phase}: {view.reason}")
        self._reason = view.reason


@contextmanager
def display() -> Iterator[Callable[[View], None]]:
    """The way to show a View on this stderr."""
    if not render.coloured(sys.stderr):
        yield Plain().show
        return
    from rich.console import Console, Group
    from rich.live import Live
    from rich.spinner import Spinner
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    spinner = Spinner("dots")
    with Live(console=console, refresh_per_second=8, transient=False) as live:

        def show(view: View) -> None:
            parts: list[Text | Spinner] = []
            for stage, took in view.done:
                parts.append(Text.assemble(("✓ ", "green"), stage_line(stage, took)))
            if view.phase == view.goal and view.reason is None:
                live.update(Group(*parts))
                return
            text = Text(f"{view.phase:<18}{view.seconds:7.1f}s")
            if view.reason:
                text.append("  " + view.reason, style="yellow")
            spinner.update(text=text)
            live.update(Group(*parts, spinner))

        yield show


def wait_ready(session: Session, server: Json, limit: float, other_than: str | None = None) -> int:
    """Wait until `server` (as last written) is ready, at most `limit` seconds; the exit code.

    `other_than` names the pod that must have been replaced first (restart).
    """
    from devctl.pods import suspended

    name = server["metadata"]["name"]
    view = View(name, time.monotonic())

    def ready(current: Json) -> bool:
        replaced = not other_than or current.get("status", {}).get("podName") not in (None, "", other_than)
        refused = suspended(current)
        if refused is not None:
            raise refused
        if replaced and _seen(current, server):
            view.update(current)
        elif view.seconds > SILENT and not current.get("status"):
            view.reason = UNSEEN
        return replaced and is_ready(current)

    if not _reached(session, server, view, limit, ready):
        return INTERRUPTED
    how = "ssh" if server["spec"].get("enableSSH", True) else "shell"
    if session.broker and how == "ssh":
        from devctl import hop

        with contextlib.suppress(CommandError):  # it is ready all the same, and `devctl ssh` says what is in the way
            hop.reached(session, name)
    title = render.paint(name, "bold", sys.stderr)
    render.say(f"{title} is ready after {view.seconds:.1f}s; `devctl {how} {name}` opens a session")
    return 0


def wait_stopped(session: Session, server: Json, limit: float) -> int:
    """Wait until nothing of `server` (as last written) runs any more, at most `limit` seconds; the exit code."""
    name = server["metadata"]["name"]
    view = View(name, time.monotonic(), phase="Stopping", doing="stopping", goal="Stopped")

    def stopped(current: Json) -> bool:
        if current["spec"].get("running", True):
            raise CommandError(f"{name} was started again while waiting", f"`devctl stop {name}` stops it")
        seen = _seen(current, server)
        if seen:
            view.phase, view.reason = render.clean(str(current["status"].get("phase") or "Stopping")), None
        elif view.seconds > SILENT:
            view.reason = UNSEEN
        return seen and view.phase == view.goal

    if not _reached(session, server, view, limit, stopped):
        return INTERRUPTED
    render.say(f"{render.paint(name, 'bold', sys.stderr)} is stopped after {view.seconds:.1f}s")
    return 0


def _reached(session: Session, server: Json, view: View, limit: float, done: Callable[[Json], bool]) -> bool:
    """Show `view` until `done` says so of the newest object; False when the person does not want to wait any longer."""
    try:
        with display() as show:
            for current in follow(session, server, view, limit):
                over = done(current)
                show(view)
                if over:
                    break
    except KeyboardInterrupt:
        render.say("")
        render.say(f"no longer waiting; {view.name} is left as it is and goes on {view.doing}")
        render.say(f"`devctl describe {view.name}` shows how far it is, `devctl delete {view.name}` removes it")
        return False
    return True


def follow(session: Session, server: Json, view: View, limit: float) -> Iterator[Json]:
    """The object each time it changes, and at least every second; raises CommandError when the time is over.

    A watch that ends or breaks is begun anew; a server that is deleted ends the wait.
    """
    from devservers_core.client.paths import server_path

    name, path = server["metadata"]["name"], server_path(session.namespace)
    deadline = view.started + limit
    current = server
    while True:
        try:
            current = session.kube.get(f"{path}/{name}")
            yield current
            query = {
                "fieldSelector": f"metadata.name={name}",
                "resourceVersion": current["metadata"]["resourceVersion"],
                "timeoutSeconds": str(max(int(min(deadline - time.monotonic(), 300)), 1)),
            }
            for event in session.kube.watch(path, query, timeout=1.0):
                if event.get("type") == "DELETED":
                    raise CommandError(
                        f"{name} was deleted while waiting", "`devctl list` shows your servers", NOT_FOUND
                    )
                if event.get("type") == "ERROR":
                    break
                current = event["object"]
                yield current
                _check_time(view, name, deadline, limit)
        except TimeoutError:
            yield current
        except UnreachableError as error:
            view.reason = f"the cluster does not answer ({error}); trying again"
            yield current
            time.sleep(1)
        except ApiError as error:
            if error.status == 404:
                raise CommandError(
                    f"{name} was deleted while waiting", "`devctl list` shows your servers", NOT_FOUND
                ) from None
            if error.status != 410 and error.status < 500 and error.status != 429:
                raise
            time.sleep(1)
        _check_time(view, name, deadline, limit)


def _check_time(view: View, name: str, deadline: float, limit: float) -> None:
    if time.monotonic() >= deadline:
        reason = f": {view.reason}" if view.reason else ""
        raise CommandError(
            f"{name} is still {view.phase} after {render.span(limit)}{reason}",
            f"it goes on {view.doing}; `devctl describe {name}` shows it, `devctl delete {name}` removes it",
            TIMED_OUT,
        )
