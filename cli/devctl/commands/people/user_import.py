"""`devctl user import`: adds and changes many users from one file.

Invariant: nothing is written before every line was checked, here and by a dry run at the API server.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devctl.options import Yes
from devctl.output import console, tables
from devctl.output.errors import from_api
from devctl.output.prompts import confirm
from devctl.preflight import missing_flavors
from devctl.resources.people import user_ssh_keys
from devctl.resources.people.managed_by import ensure_managed_by_command
from devctl.resources.people.user_changes import STRICT, change_user, user_refusal
from devctl.resources.people.user_fields import differences, settings
from devctl.resources.people.user_file import MAX_BYTES, Entry, parse
from devservers_core import names
from devservers_core.client.paths import user_path
from devservers_core.errors import FAILURE, REFUSED, USAGE, ApiError, CommandError, UnreachableError

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json

MAX_COMPLAINTS = 20
"""Wrong lines that are printed; of more only the number is."""


@dataclass(frozen=True)
class _Change:
    entry: Entry
    current: Json | None
    """The user as they are, None for a new one."""
    texts: list[str]
    """What changes, one entry a field; empty when nothing does."""


def user_import_command(
    context: Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .csv file, or YAML: a list of users.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the file and show what would change.")] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Accept flavors that do not exist yet.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Add and change many users from a file; who isn't in it stays as they are.

    A line of the header `name,email,flavors,gpus,storage,keys`, then one line a user; as YAML the same names.
    """
    entries = _read(file)
    for warning in missing_flavors(context, _flavors(entries), allow_missing):
        console.warn(warning)
    try:
        users = {user["metadata"]["name"]: user for user in context.kube.get(user_path()).get("items") or []}
    except ApiError as error:
        raise from_api(error, "list users") from None
    changes, complaints = [], []
    for entry in entries:
        try:
            change = _change(entry, users.get(entry.name))
            if change.texts:
                _apply(context, change, dry_run=True)
            changes.append(change)
        except CommandError as error:
            complaints.append((entry.line, f"{error.what}; {error.remedy}"))
    _refuse(file, complaints)
    pending = [change for change in changes if change.texts]
    tables.table(
        ["LINE", "NAME", "CHANGE"],
        [
            [str(change.entry.line), change.entry.name, f"{'' if change.current else 'new: '}{', '.join(change.texts)}"]
            for change in pending
        ],
    )
    same = len(changes) - len(pending)
    if dry_run or not pending:
        console.info(f"{len(pending)} users would change, {same} are so already; nothing was changed")
        return
    if not yes:
        confirm("importing users", f"Change these {len(pending)} users?", "nothing was changed")
    _apply_all(context, pending, same)


def _read(file: Path) -> list[Entry]:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise CommandError(f"{file} cannot be read: {why}", "give a CSV or YAML file", USAGE) from None
    if len(data) > MAX_BYTES:
        raise CommandError(f"{file} is larger than {MAX_BYTES // 1024 // 1024} MiB", "import it in parts", REFUSED)
    parsed = parse(text, file.suffix.lower() == ".csv")
    _refuse(file, parsed.complaints)
    if not parsed.entries:
        raise CommandError(f"{file} has no users", "add a line for each", REFUSED)
    return parsed.entries


def _refuse(file: Path, complaints: list[tuple[int, str]]) -> None:
    """Print complaints by line and end, if there are any. Raises CommandError."""
    if not complaints:
        return
    for line, text in complaints[:MAX_COMPLAINTS]:
        console.info(f"{file.name}, line {line}: {console.printable(text)}")
    count = len(complaints)
    lines = "a line" if count == 1 else f"{count} lines"
    raise CommandError(
        f"{lines} of {file.name} can't be imported, so nothing was changed", "correct the file, and try again", REFUSED
    )


def _flavors(entries: list[Entry]) -> list[str]:
    return list(dict.fromkeys(flavor for entry in entries for flavor in entry.patch.get("flavors") or []))


def _change(entry: Entry, current: Json | None) -> _Change:
    """What a line changes. Raises CommandError when the user is another source's."""
    if current is None:
        body = _new(entry)
        texts = [f"{name} {value}" for name, value in settings(body["spec"])]
        return _Change(entry, None, [*texts, f"{len(entry.keys)} keys"])
    spec = current.get("spec") or {}
    texts = differences(spec, entry.patch)
    if more := len(_new_keys(spec, entry)):
        texts.append(f"{more} more keys")
    if texts:
        ensure_managed_by_command(current, "change them", ", or leave them out of this file")
    return _Change(entry, current, texts)


def _new(entry: Entry) -> Json:
    spec: dict[str, Any] = {"username": entry.name, "managedBy": names.MANAGED_BY_COMMAND, **_without_none(entry.patch)}
    spec |= _with_keys(spec, entry.keys)
    return {
        "apiVersion": names.API_VERSION,
        "kind": "DevServerUser",
        "metadata": {"name": entry.name},
        "spec": spec,
    }


def _without_none(value: Json) -> Json:
    return {
        key: _without_none(item) if isinstance(item, dict) else item for key, item in value.items() if item is not None
    }


def _new_keys(spec: Json, entry: Entry) -> list[str]:
    there = {key.fingerprint for key in user_ssh_keys.list_keys(spec)}
    return [line for line in entry.keys if user_ssh_keys.Key("", line).fingerprint not in there]


def _with_keys(spec: Json, lines: list[str] | tuple[str, ...]) -> Json:
    """The patch of spec that adds keys. Raises CommandError for one that is there twice."""
    patch: Json = {}
    for line in lines:
        now = datetime.now(UTC)
        patch = user_ssh_keys.add_key_patch(
            {**spec, **patch}, user_ssh_keys.key_name(line, {**spec, **patch}), line, None, now
        )
    return patch


def _apply(context: Context, change: _Change, *, dry_run: bool = False) -> None:
    """Write one line's change, or have the API server check it. Raises CommandError."""
    entry = change.entry
    if change.current is None:
        try:
            context.kube.create(user_path(), _new(entry), **STRICT, **({"dryRun": "All"} if dry_run else {}))
        except ApiError as error:
            raise user_refusal(error, entry.name, "add") from None
        return

    def patch_of(user: Json) -> Json:
        ensure_managed_by_command(user, "change them")
        spec = user.get("spec") or {}
        return {**entry.patch, **_with_keys(spec, _new_keys(spec, entry))}

    change_user(context, entry.name, patch_of, dry_run=dry_run)


def _apply_all(context: Context, changes: list[_Change], same: int) -> None:
    """Write the changes one after the other; what fails is named, and the rest goes on. Raises CommandError."""
    done = {True: 0, False: 0}
    failed = []
    for change in changes:
        try:
            _apply(context, change)
            done[change.current is None] += 1
        except CommandError as error:
            failed.append(change.entry)
            console.info(
                f"line {change.entry.line}, {change.entry.name}: {console.printable(error.what)}; "
                f"{console.printable(error.remedy)}"
            )
        except UnreachableError as error:
            missing = len(changes) - sum(done.values()) - len(failed)
            console.info(f"{done[True]} added, {done[False]} changed, {len(failed)} failed, {missing} not tried")
            raise CommandError(
                f"the cluster stopped answering at {change.entry.name}: {error}",
                "import the file again: who is so already stays as they are",
            ) from None
    console.info(f"{done[True]} added, {done[False]} changed, {same} were so already, {len(failed)} failed")
    if failed:
        raise CommandError(
            f"{len(failed)} users were not changed, the first is {failed[0].name} in line {failed[0].line}",
            "import the file again: who is so already stays as they are",
            FAILURE,
        )
