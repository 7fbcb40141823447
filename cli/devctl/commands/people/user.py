"""`devctl user`: an administrator's commands for DevServerUsers.

Invariant: deleting a user deletes no volume, and what stays is named before and after.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devctl import validation
from devctl.options import Output
from devctl.output import console, tables, times
from devctl.output.errors import from_api
from devctl.preflight import missing_flavors
from devctl.resources.people import managed_by, user_ssh_keys
from devctl.resources.people.key_file import read_public_key
from devctl.resources.people.onboarding import instructions
from devctl.resources.people.user_changes import read_user, user_refusal
from devservers_core import names
from devservers_core.client.paths import user_path
from devservers_core.errors import REFUSED, ApiError, CommandError, UnreachableError

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


Name = Annotated[str, typer.Argument(help="The user's name.")]
READY_SECONDS = 20.0
"""Seconds to wait for a new user's namespace before a warning is printed."""


def user_add_command(
    context: Context,
    name: Name,
    key: Annotated[
        list[str] | None, typer.Option("--key", metavar="FILE", help="A .pub file, a key, or - for stdin; repeatable.")
    ] = None,
    flavors: Annotated[str, typer.Option(metavar="A,B", help="Flavors they may use; all if not given.")] = "*",
    gpus: Annotated[int | None, typer.Option(help="Most GPUs at once.", min=0)] = None,
    cpu: Annotated[str | None, typer.Option(help="Most CPUs at once, like 16.")] = None,
    memory: Annotated[str | None, typer.Option(help="Most memory at once, like 64Gi.")] = None,
    servers: Annotated[int | None, typer.Option(help="Most servers, stopped ones included.", min=0)] = None,
    storage: Annotated[str | None, typer.Option(help="Most storage of all their volumes, like 500Gi.")] = None,
    email: Annotated[str | None, typer.Option(help="Where to reach them.")] = None,
    expires: Annotated[str | None, typer.Option(metavar="WHEN", help="When the keys end: 90d, 2027-01-31.")] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Accept flavors that do not exist yet.")
    ] = False,
) -> None:
    """Add a user to the platform.

    devctl user add ann --key ann.pub --flavors cpu-small,gpu-a10g --gpus 4
    """
    if not validation.user_name(name):
        raise CommandError(f"{name[:80]!r} is not a user name", validation.user_name_rule(name), REFUSED)
    spec: Json = {
        "username": name,
        "managedBy": names.MANAGED_BY_COMMAND,
        "flavors": [entry.strip() for entry in flavors.split(",") if entry.strip()],
    }
    for warning in missing_flavors(context, spec["flavors"], allow_missing):
        console.warn(warning)
    now = datetime.now(UTC)
    for entry in key or []:
        line = read_public_key(entry, context.broker)
        spec |= user_ssh_keys.add_key_patch(spec, user_ssh_keys.key_name(line, spec), line, expires, now)
    quota = {"gpu": gpus, "cpu": cpu, "memory": memory, "servers": servers, "storage": storage}
    spec["quota"] = {what: most for what, most in quota.items() if most is not None}
    if email is not None:
        spec["email"] = email
    body = {"apiVersion": names.API_VERSION, "kind": "DevServerUser", "metadata": {"name": name}, "spec": spec}
    try:
        created = context.kube.create(user_path(), body)
    except ApiError as error:
        if error.status == 409:
            raise CommandError(f"there is a user {name} already", f"`devctl user show {name}` shows them") from None
        raise from_api(error, f"add {name}") from None
    if not key:
        console.warn(f"{name} has no key and cannot log in; `devctl keys add laptop FILE.pub --user {name}`")
    _wait_active(context, created)
    console.info(f"{name} is added. Send them this:")
    console.info("")
    console.echo(instructions(context, name))


def user_list_command(context: Context, output: Output = None) -> None:
    """List all users."""
    form = context.output(output)
    try:
        items = list(context.kube.get(user_path()).get("items") or [])
    except ApiError as error:
        raise from_api(error, "list users") from None
    if tables.print_objects(form, tables.as_list(items, names.API_VERSION, "DevServerUser"), "devserveruser"):
        return
    if not items:
        console.info("no users; `devctl user add NAME --key FILE` adds one")
        return
    now = datetime.now(UTC)
    header = ["NAME", "STATE", "KEYS", "GPUS", "FLAVORS", "MANAGER", "AGE"]
    rows = []
    for user in items:
        spec, quota = user.get("spec") or {}, (user.get("spec") or {}).get("quota") or {}
        row = [
            user["metadata"]["name"],
            _state(user),
            str(sum(not key.over(now) for key in user_ssh_keys.list_keys(spec))),
            str(quota.get("gpu", "no limit")),
            ",".join(spec.get("flavors") or ["*"]),
            managed_by.manager(user) or "-",
            times.age(user["metadata"].get("creationTimestamp")),
        ]
        if form == "wide":
            row += [str((user.get("status") or {}).get("uid", "-")), str(spec.get("email", "-"))]
        rows.append(row)
    tables.table([*header, *(["UID", "EMAIL"] if form == "wide" else [])], rows)


def user_show_command(context: Context, name: Name, output: Output = None) -> None:
    """Show a user, what they may use, and what to send them."""
    user = read_user(context, name)
    if tables.print_objects(context.output(output), {"kind": "DevServerUser", **user}, "devserveruser"):
        return
    spec, now = user.get("spec") or {}, datetime.now(UTC)
    quota = ", ".join(f"{most} {what}" for what, most in (spec.get("quota") or {}).items()) or "no limit"
    source = managed_by.manager(user) or "nobody"
    lines = [
        ("name", name),
        ("state", _state(user)),
        ("e-mail", str(spec.get("email", "-"))),
        ("uid", str((user.get("status") or {}).get("uid", "not given yet"))),
        ("flavors", ", ".join(spec.get("flavors") or ["*"])),
        ("quota", quota),
        ("manager", f"{source}; edit {managed_by.place(user)}" if managed_by.place(user) else source),
        ("servers", ", ".join(_servers(context, name)) or "none"),
        ("volumes", ", ".join(_claims(context, name)) or "none"),
    ]
    lines += [
        ("warning", str(condition["message"]))
        for condition in _conditions(user)
        if condition.get("type") == "FlavorsFound"
    ]
    for label, value in lines:
        console.echo(f"{label + ':':<10}{console.printable(value)}")
    for key in user_ssh_keys.list_keys(spec):
        when = "ended" if key.over(now) else f"ends {key.expires:%Y-%m-%d}" if key.expires else "never ends"
        called = console.printable(key.name or key.public.comment or "-")
        console.echo(f"{'key:':<10}{called}  {key.public.kind}  {key.fingerprint}  {when}")
    console.echo("")
    console.echo("What to send them:")
    console.echo("")
    console.echo(instructions(context, name))


def user_suspend_command(context: Context, name: Name) -> None:
    """Stop a user's servers and refuse their keys; nothing is deleted."""
    user = _patch(context, name, True)
    console.info(f"{name} is suspended: servers stop, sessions end, homes stay; `devctl user resume {name}` undoes it")
    # Whoever must be kept out is kept out at once, whichever source has them.
    if managed_by.place(user):
        console.info(f"{name} is managed elsewhere: say it in {managed_by.place(user)} too")


def user_resume_command(context: Context, name: Name) -> None:
    """Undo suspend: the keys work again, and servers that ran before start."""
    _patch(context, name, False)
    console.info(f"{name} may log in again; servers that ran when they were suspended start now")


def user_delete_command(
    context: Context, name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Delete a user: their servers are deleted, their volumes are kept and named.

    A new user of that name gets the volumes, and nothing else of the former one.
    """
    from devctl.output.prompts import confirm
    from devctl.resources.people.user_deletion import wait_gone

    managed_by.ensure_managed_by_command(read_user(context, name), "delete them", " and run `pulumi up`")
    servers, claims = _servers(context, name), _claims(context, name)
    stays = f"volumes that stay in {names.namespace_of(name)}: {', '.join(claims)}" if claims else "no volume is left"
    console.info(f"servers that go: {', '.join(servers) or 'none'}; {stays}")
    if not yes:
        confirm(f"deleting the user {name}", f"Delete the user {name}?", "nothing was deleted")
    try:
        context.kube.delete(user_path(name))
    except ApiError as error:
        raise user_refusal(error, name, "delete") from None
    remaining = wait_gone(context, name, keeps_volumes=bool(claims))
    console.info(f"{name} is deleted; {stays}")
    if remaining:
        console.warn(remaining)
    if claims:
        console.info(
            f"a new user {name} gets them again; `kubectl delete namespace {names.namespace_of(name)}` is final"
        )


def _wait_active(context: Context, user: Json) -> None:
    """Wait until the operator has set up the user; warn if it takes longer."""
    name, obstacle = user["metadata"]["name"], None
    query = {"fieldSelector": f"metadata.name={name}", "timeoutSeconds": str(int(READY_SECONDS))}
    try:
        for event in context.kube.watch(user_path(), query, READY_SECONDS):
            seen = event.get("object") or {}
            if (seen.get("status") or {}).get("phase") == "Active":
                return
            # It may be over in a moment: two things are made at once, and one of them first.
            obstacle = _not_ready_message(seen)
    except (TimeoutError, ApiError, UnreachableError):
        pass
    console.warn(
        f"{name} is not ready yet: {obstacle or 'the namespace is not made'}; `devctl user show {name}` shows when, "
        "`devctl status` the operator"
    )


def _conditions(user: Json) -> list[Json]:
    return list((user.get("status") or {}).get("conditions") or [])


def _not_ready_message(user: Json) -> str | None:
    for condition in _conditions(user):
        if condition.get("type") == "Ready" and condition.get("status") == "False" and condition.get("message"):
            return str(condition["message"])
    return None


def _state(user: Json) -> str:
    if user["metadata"].get("deletionTimestamp"):
        return "Terminating"
    if (user.get("spec") or {}).get("suspended"):
        return "Suspended"
    return str((user.get("status") or {}).get("phase") or "not set up yet")


def _patch(context: Context, name: str, suspended: bool) -> Json:
    try:
        return context.kube.patch(user_path(name), {"spec": {"suspended": suspended}})
    except ApiError as error:
        raise user_refusal(error, name, "change") from None


def _servers(context: Context, name: str) -> list[str]:
    return [server["metadata"]["name"] for server in context.servers(names.namespace_of(name))]


def _claims(context: Context, name: str) -> list[str]:
    from devservers_core.client.paths import core_path

    try:
        path = core_path(names.namespace_of(name), "persistentvolumeclaims")
        claims: list[Any] = context.kube.get(path).get("items") or []
    except ApiError as error:
        raise from_api(error, f"list the volumes of {name}") from None
    return [claim["metadata"]["name"] for claim in claims]
