"""What of a DevServerUser an administrator sets: names, values and patches.

`devctl user set` and `devctl user import` share it. Pure: texts in, a merge patch of spec out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from devservers_core.duration import parse_duration
from devservers_core.errors import REFUSED, CommandError, InvalidValueError
from devservers_core.grammar import GIT_URL, GIT_URL_MAX, TIME_ZONE, TIME_ZONE_MAX, fits
from devservers_core.names import ANY_FLAVOR
from devservers_core.quantity import parse_quantity
from devservers_core.types import Json

MAX_COUNT = 10000


@dataclass(frozen=True)
class UserField:
    """One thing that is set: the name of its flag and column, and where it is in spec."""

    name: str
    path: tuple[str, ...]
    parse: Callable[[str], Any]
    """Turns a text, not an empty one, into the value. Raises InvalidValueError."""


def _amount(text: str) -> str:
    if parse_quantity(text) < 0:
        raise InvalidValueError(f"{text!r} is below zero; use zero or more")
    return text


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text[:9]) > MAX_COUNT:
        raise InvalidValueError(f"{text[:40]!r} is not a number; use a whole number from 0 to {MAX_COUNT}")
    return int(text)


def _duration(text: str) -> str:
    parse_duration(text)
    return text


def _email(text: str) -> str:
    before, at, after = text.partition("@")
    if not before or not at or not after or "@" in after or any(char.isspace() for char in text):
        raise InvalidValueError(f"{text[:80]!r} is not an e-mail address; use one like ann@example.org")
    return text


def _dotfiles(text: str) -> str:
    if not fits(text, GIT_URL, GIT_URL_MAX):
        raise InvalidValueError(
            f"{text[:80]!r} is not a git URL; use one like https://github.com/ann/dotfiles, without user or token"
        )
    return text


def _flavors(text: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def time_zone(text: str) -> str:
    """The name of a time zone that this machine knows. Raises InvalidValueError."""
    import zoneinfo

    hint = "use a name of the tz database, like Europe/Berlin"
    if not fits(text, TIME_ZONE, TIME_ZONE_MAX):
        raise InvalidValueError(f"{text[:80]!r} is not a time zone; {hint}")
    zones = zoneinfo.available_timezones()
    # A machine without the database knows none; the platform's own parts have it.
    if zones and text not in zones:
        raise InvalidValueError(f"there is no time zone {text!r}; {hint}")
    return text


FIELDS: dict[str, UserField] = {
    field.name: field
    for field in (
        UserField("flavors", ("flavors",), _flavors),
        UserField("gpus", ("quota", "gpu"), _count),
        UserField("cpu", ("quota", "cpu"), _amount),
        UserField("memory", ("quota", "memory"), _amount),
        UserField("storage", ("quota", "storage"), _amount),
        UserField("servers", ("quota", "servers"), _count),
        UserField("snapshots", ("quota", "snapshots"), _count),
        UserField("max-time", ("lifecycle", "maxTimeToLive"), _duration),
        UserField("max-extension", ("lifecycle", "maxExtension"), _duration),
        UserField("max-idle-timeout", ("lifecycle", "maxIdleTimeout"), _duration),
        UserField("max-hold", ("lifecycle", "maxHold"), _duration),
        UserField("time-zone", ("timeZone",), time_zone),
        UserField("email", ("email",), _email),
        UserField("dotfiles", ("dotfiles",), _dotfiles),
    )
}
"""By name, in the order in which they are shown."""


def changes_patch(texts: Mapping[str, str | None]) -> Json:
    """The merge patch of spec for texts by field; an empty text and None remove what is set.

    Raises CommandError for an unknown field or a text that doesn't fit.
    """
    patch: Json = {}
    for name, text in texts.items():
        field = FIELDS.get(name)
        if field is None:
            raise CommandError(f"there is no field {name[:40]!r}", f"there are: {', '.join(FIELDS)}", REFUSED)
        try:
            value = field.parse(text.strip()) if text is not None and text.strip() else None
        except InvalidValueError as error:
            what, _, remedy = str(error).partition("; ")
            raise CommandError(f"{name}: {what}", remedy or "correct it", REFUSED) from None
        place = patch
        for key in field.path[:-1]:
            place = place.setdefault(key, {})
        place[field.path[-1]] = value
    return patch


def differences(spec: Json, patch: Json) -> list[str]:
    """What a patch changes in a spec, one entry a field, like `gpus 4 -> 8`."""
    changes = []
    for field in FIELDS.values():
        given, after = _at(patch, field.path)
        if not given:
            continue
        before = _at(spec, field.path)[1]
        if _text(before) != _text(after):
            changes.append(f"{field.name} {_shown(field, before)} -> {_shown(field, after)}")
    return changes


def settings(spec: Json) -> list[tuple[str, str]]:
    """The fields that a spec has, with their values as texts."""
    return [
        (name, _shown(field, _at(spec, field.path)[1])) for name, field in FIELDS.items() if _at(spec, field.path)[0]
    ]


def _at(spec: Json, path: tuple[str, ...]) -> tuple[bool, Any]:
    value: Any = spec
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return False, None
        value = value[key]
    return True, value


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return "" if value is None else ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _shown(field: UserField, value: Any) -> str:  # noqa: ANN401 - any JSON value
    return _text(value) or (ANY_FLAVOR if field.name == "flavors" else "(unset)")
