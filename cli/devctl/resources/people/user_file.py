"""Reads a file of users, YAML or CSV, for `devctl user import`.

Pure: a text in, checked entries out; each complaint names its line.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from devctl import validation
from devctl.resources.people import user_ssh_keys
from devctl.resources.people.user_fields import FIELDS, changes_patch
from devservers_core.errors import REFUSED, CommandError
from devservers_core.names import is_reserved_user
from devservers_core.types import Json

MAX_BYTES = 1024 * 1024
MAX_USERS = 5000
_NAME, _KEYS = "name", "keys"


@dataclass(frozen=True)
class Entry:
    """One user of a file."""

    line: int
    name: str
    patch: Json
    """The merge patch of spec; fields that the file leaves out are not in it."""
    keys: tuple[str, ...] = ()
    """Lines of .pub files, to be added where they are absent."""


@dataclass
class UserFile:
    """What a file says: entries, and complaints by line."""

    entries: list[Entry] = field(default_factory=list)
    complaints: list[tuple[int, str]] = field(default_factory=list)


def parse(text: str, is_csv: bool) -> UserFile:
    """Parse a whole file. Raises CommandError when it is neither a table nor a list at all."""
    result = UserFile()
    lines: dict[str, int] = {}
    for line, raw in _csv_rows(text) if is_csv else _yaml_items(text):
        if len(result.entries) + len(result.complaints) >= MAX_USERS:
            raise CommandError(f"the file has more than {MAX_USERS} users", "import it in parts", REFUSED)
        try:
            entry = _entry(line, raw)
            if entry.name in lines:
                raise CommandError(f"{entry.name} is in line {lines[entry.name]} already", "name each user once")
            lines[entry.name] = line
        except CommandError as error:
            result.complaints.append((line, f"{error.what}; {error.remedy}"))
        else:
            result.entries.append(entry)
    return result


def _entry(line: int, raw: object) -> Entry:
    if isinstance(raw, CommandError):
        raise raw
    if not isinstance(raw, dict):
        raise CommandError("this is not a user", "write `- name: ann`, with fields below it", REFUSED)
    unknown = [key if isinstance(key, str) else "" for key in raw if key not in (_NAME, _KEYS, *FIELDS)]
    if unknown:
        listed = ", ".join((_NAME, *FIELDS, _KEYS))
        raise CommandError(f"there is no field {unknown[0][:40]!r}", f"there are: {listed}", REFUSED)
    name = raw.get(_NAME)
    if not isinstance(name, str):
        raise CommandError("the user has no name", "write `name: ann`; a name that is a number needs quotes", REFUSED)
    if not validation.user_name(name):
        raise CommandError(f"{name[:80]!r} is not a user name", validation.user_name_rule(name), REFUSED)
    if is_reserved_user(name):
        raise CommandError(f"the user name {name!r} is reserved", "choose another", REFUSED)
    keys = raw.get(_KEYS) or []
    keys = [keys] if isinstance(keys, str) else keys
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise CommandError("keys is not a list of public keys", "give lines of .pub files", REFUSED)
    texts = {field: _text(field, value) for field, value in raw.items() if field in FIELDS}
    return Entry(line, name, changes_patch(texts), tuple(map(user_ssh_keys.parse_public_key, keys)))


def _text(name: str, value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list) and name == "flavors" and all(isinstance(flavor, str) for flavor in value):
        return ",".join(value)
    raise CommandError(f"{name} is not one value", f"write `{name}: VALUE`", REFUSED)


def _csv_rows(text: str) -> Iterator[tuple[int, object]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for row in reader:
            start, line = line, reader.line_num + 1
            if not any(cell.strip() for cell in row) or row[0].lstrip().startswith("#"):
                continue
            if header is None:
                header = _header(row)
            elif len(row) != len(header):
                what = f"this line has {len(row)} cells and the header {len(header)}"
                yield start, CommandError(what, "put a cell with commas in quotes", REFUSED)
            else:
                # An empty cell leaves a field as it is: a table has one for each, and most are about few people.
                cells = {name: cell.strip() for name, cell in zip(header, row, strict=True) if cell.strip()}
                yield start, cells | ({_NAME: ""} if _NAME not in cells else {})
    except csv.Error as error:
        raise CommandError(f"line {reader.line_num}: {error}", "give a CSV file with commas", REFUSED) from None
    if header is None:
        raise CommandError("the file has no header", f"begin with a line of fields: {_NAME},gpus,email", REFUSED)


def _header(row: list[str]) -> list[str]:
    header = [cell.strip().lstrip("\ufeff") for cell in row]
    unknown = [cell for cell in header if cell not in (_NAME, _KEYS, *FIELDS)]
    if unknown or _NAME not in header or len(set(header)) != len(header):
        what = (
            f"there is no column {unknown[0][:40]!r}" if unknown else f"the header needs each column once, and {_NAME}"
        )
        listed = ", ".join((_NAME, *FIELDS, _KEYS))
        raise CommandError(f"line 1: {what}", f"there are: {listed}", REFUSED)
    return header


def _yaml_items(text: str) -> Iterator[tuple[int, object]]:
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if isinstance(root, yaml.MappingNode) and len(root.value) == 1 and root.value[0][0].value == "users":
            root = root.value[0][1]
        if not isinstance(root, yaml.SequenceNode):
            raise CommandError("the file is not a list of users", "write `- name: ann`, with fields below it", REFUSED)
        for node in root.value:
            yield node.start_mark.line + 1, loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        what = getattr(error, "problem", None) or "this is not YAML"
        raise CommandError(f"{where}{what}", "correct the file; nothing was changed", REFUSED) from None
    except (RecursionError, ValueError):
        raise CommandError(
            "this is not YAML that can be read", "correct the file; nothing was changed", REFUSED
        ) from None
    finally:
        loader.dispose()
