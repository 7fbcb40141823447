"""The small grammars a person types: names, quantities, durations, images, mounts, variables.

Invariant: pure functions; each returns the parsed value or raises Failure(code REFUSED) with what is wrong
and what would be right. Sources: rulings.md 10, 12 and 15; Kubernetes' resource.Quantity; the OCI
distribution grammar for image references.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from devctl import names
from devctl.errors import REFUSED, Failure

_QUANTITY = re.compile(r"^(\d+(?:\.\d*)?|\.\d+)(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?\d{1,3})?$", re.ASCII)
_SUFFIX = {
    **{s: Decimal(1024) ** i for i, s in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
    **{s: Decimal(1000) ** i for i, s in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    "m": Decimal("1e-3"),
    "u": Decimal("1e-6"),
    "n": Decimal("1e-9"),
}
_DURATION = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", re.ASCII)
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*(?::\d+)?"
_IMAGE = re.compile(
    rf"^(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*(?::\w[\w.-]{{0,127}})?(?:@sha256:[a-f0-9]{{64}})?$", re.ASCII
)
_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_CLAIM = re.compile(r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")


def refuse(what: str, todo: str) -> Failure:
    """A Failure of the kind "refused by validation"."""
    return Failure(what, todo, REFUSED)


def server_name(name: str) -> str:
    """A server's name: up to 40 characters, small letters, digits and dashes, a letter first."""
    if len(name) > names.SERVER_NAME_MAX:
        raise refuse(
            f"the name {name[:60]!r} has {len(name)} characters, at most {names.SERVER_NAME_MAX} are allowed",
            f"take a shorter one, for example {_suggest(name)}",
        )
    if not re.fullmatch(names.NAME_PATTERN, name, re.ASCII):
        raise refuse(
            f"{name!r} is not a server name",
            "use two or more small letters, digits and dashes, a letter first and no dash at the end,"
            f" for example {_suggest(name)}",
        )
    return name


def _suggest(name: str) -> str:
    return _slug(name, names.SERVER_NAME_MAX) or "mydev"


def _slug(text: str, longest: int) -> str:
    """`text` as a name, as far as that can be; "" when nothing is left of it."""
    import unicodedata

    plain = unicodedata.normalize("NFKD", text.lower().replace("ß", "ss")).encode("ascii", "ignore").decode()
    # A mark of an accent is gone by now; any other character parts two words.
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-").lstrip("0123456789-")[:longest].rstrip("-")
    return slug if len(slug) >= 2 else ""


def user_name(name: str) -> bool:
    """Whether `name` could be a platform user (syntax only)."""
    return len(name) <= names.USER_NAME_MAX and re.fullmatch(names.NAME_PATTERN, name, re.ASCII) is not None


def user_name_rule(name: str) -> str:
    """What a user name looks like, with the nearest one to `name`: jane.doe@example.org -> jane-doe."""
    rule = f"user names have 2 to {names.USER_NAME_MAX} small letters, digits and dashes, a letter first"
    near = _slug(name.partition("@")[0], names.USER_NAME_MAX)
    return f"{rule} and no dash at the end" + (f", for example {near}" if near else "")


def quantity(text: str) -> Decimal:
    """A Kubernetes quantity as a plain number: `10Gi`, `500m`, `1.5`. Raises ValueError."""
    found = _QUANTITY.fullmatch(text)
    if not found:
        raise ValueError(text)
    number, suffix = Decimal(found[1]), found[2] or ""
    if suffix and suffix not in _SUFFIX:
        return number * Decimal(10) ** int(suffix[1:])
    return number * _SUFFIX.get(suffix, Decimal(1))


def home_size(text: str, flag: str = "--home-size") -> str | None:
    """The size of the home as given, or None for `none` and `0` (no persistent home)."""
    if text in ("none", "0"):
        return None
    try:
        size = quantity(text)
    except ValueError:
        raise refuse(f"{flag} {text!r} is not a size", "write a number and a unit, for example 10Gi or 500Mi") from None
    if size < 1024 * 1024:
        raise refuse(f"{flag} {text!r} is less than one mebibyte", "did you mean a unit, for example 10Gi?")
    return text


def duration(text: str, flag: str) -> int:
    """A duration like `2h30m` or `1d` in seconds, at least 1."""
    found = _DURATION.fullmatch(text)
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0, 0)
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if total < 1:
        raise refuse(f"{flag} {text!r} is not a duration", "write it like 30m, 2h30m or 1d")
    return total


def image(text: str) -> str:
    """An image reference as the container runtime reads it."""
    if len(text) > 512 or not _IMAGE.fullmatch(text):
        todo = "write it like debian:12 or registry.example.com/team/image:tag"
        if text != text.lower() and _IMAGE.fullmatch(text.lower()):
            todo = f"names are in small letters: {text.lower()}"
        raise refuse(f"{text[:100]!r} is not an image reference", todo)
    return text


def variables(pairs: list[str]) -> list[dict[str, str]]:
    """`KEY=VALUE` words as the API's env list; a key may appear once."""
    found: dict[str, str] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise refuse(f"--env {pair!r} has no value", f"write --env {key or 'KEY'}=VALUE")
        if not _VARIABLE.fullmatch(key):
            raise refuse(f"--env {key!r} is not a variable name", "use letters, digits and _, no digit first")
        if key.startswith(names.RESERVED_ENV_PREFIX):
            raise refuse(f"--env {key} is reserved", f"choose a name without {names.RESERVED_ENV_PREFIX}")
        if key in names.OWN_ENV:
            todo = f"leave it out; {', '.join(names.OWN_ENV)} are the same in every server"
            raise refuse(f"--env {key} can't be set: it is the account's own", todo)
        if key in found:
            raise refuse(f"--env {key} is given twice", "give it once")
        found[key] = value
    return [{"name": key, "value": value} for key, value in found.items()]


@dataclass(frozen=True)
class Mount:
    """One `-v`: a PersistentVolumeClaim and where it appears."""

    claim: str
    path: str
    read_only: bool

    def to_api(self) -> dict[str, object]:
        """As an entry of spec.volumes."""
        entry: dict[str, object] = {"claimName": self.claim, "mountPath": self.path}
        if self.read_only:
            entry["readOnly"] = True
        return entry


def claim(text: str, flag: str) -> str:
    """A PersistentVolumeClaim's name."""
    if not _CLAIM.fullmatch(text):
        raise refuse(f"{flag} {text!r} is not the name of a volume claim", "`kubectl get pvc` lists them")
    return text


def mount(text: str) -> Mount:
    """`PVC:/path` or `PVC:/path:ro`."""
    name, *rest = text.split(":")
    if not rest or len(rest) > 2 or (len(rest) == 2 and rest[1] not in ("ro", "rw")):
        raise refuse(f"-v {text!r} is not a volume", "write it like -v CLAIM:/path or -v CLAIM:/path:ro")
    claim(name, "-v")
    path = rest[0]
    if not path.startswith("/"):
        raise refuse(f"-v {text!r}: the path {path!r} is not absolute", f"write -v {name}:/{path or 'data'}")
    clean = path.rstrip("/")
    if {".", ".."} & set(path.split("/")) or "//" in path or not path.isprintable():
        raise refuse(f"-v {text!r}: the path has '.', '..', '//' or a control character", "write the path out")
    if not clean:
        raise refuse("a volume cannot be mounted at /", f"write -v {name}:/data, for example")
    for reserved in names.RESERVED_PATHS:
        if clean == reserved or clean.startswith(reserved + "/"):
            raise refuse(f"-v {text!r}: {reserved} belongs to the system", f"mount it elsewhere: -v {name}:/data")
    return Mount(name, clean, len(rest) == 2 and rest[1] == "ro")


def mounts(texts: list[str], shared: str | None) -> list[Mount]:
    """All `-v` of one command; no path may appear twice, /shared included when --shared-volume is given."""
    found = [mount(text) for text in texts]
    if len(found) > names.MAX_VOLUMES:
        raise refuse(f"{len(found)} volumes are given, at most {names.MAX_VOLUMES} are allowed", "leave some out")
    seen: dict[str, str] = {names.SHARED_PATH: shared} if shared else {}
    for one in found:
        if one.path in seen:
            raise refuse(
                f"{one.path} is used twice, by {seen[one.path]} and {one.claim}", "give each volume its own path"
            )
        seen[one.path] = one.claim
    return found
