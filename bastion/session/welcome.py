"""The message of the day: the user's servers, and keys that end soon.

Invariant: it is a greeting: it takes seconds at most, and whatever fails in it is one line and no obstacle.
"""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from typing import Any

from bastion.accounts.store import read_state
from bastion.paths import Paths
from bastion.session.wrap import wrap
from devctl.context import Context
from devctl.output import console
from devctl.output.errors import explain
from devctl.resources.lifecycle.planned import stops_in
from devctl.resources.people import account_keys, user_ssh_keys
from devctl.resources.server_state import phase, shown_reason
from devservers_core.errors import ApiError, CommandError, UnreachableError

MAX_SERVERS = 20
TIMEOUT_SECONDS = 4.0
"""Seconds of silence after which the cluster counts as away."""


def greet() -> None:
    """Prints it."""
    context, now = Context({}, None, timeout=TIMEOUT_SECONDS), datetime.now(UTC)
    lines = [f"Welcome, {os.environ['DEVCTL_USER']}. `help` says what this prompt takes; every command is on record."]
    state = read_state(Paths.of())
    if state and state.stale(now):
        lines.append(f"The cluster has been silent since {state.synced_at:%H:%M} UTC: accounts are as they were then.")
    try:
        lines += servers(context.servers())
        lines += user_ssh_keys.expiry_warnings(account_keys.own_keys(context), now)
    except (CommandError, ApiError, UnreachableError) as error:
        failure = explain(error, "look at your servers")
        lines.append(f"Your servers cannot be shown now: {failure.what}")
    for line in lines:
        console.echo(wrap(console.printable(line), shutil.get_terminal_size().columns))


def servers(items: list[dict[str, Any]]) -> list[str]:
    """A line for each server, with what it waits for."""
    if not items:
        return ["You have no servers yet: `create NAME --wait` makes one, `flavors` lists the sizes."]
    width = max(len(server["metadata"]["name"]) for server in items[:MAX_SERVERS])
    lines = []
    for server in items[:MAX_SERVERS]:
        why, name = shown_reason(server), server["metadata"]["name"]
        left = stops_in(server)
        note = f"  {why}" if why != "-" else f"  stops in {left}" if left != "-" else ""
        lines.append(f"  {name:<{width}}  {phase(server):<9}{note}".rstrip())
    if len(items) > MAX_SERVERS:
        lines.append(f"  and {len(items) - MAX_SERVERS} more: `list`")
    return lines
