"""Validates values of the command line: names, sizes, durations, images, mounts.

Invariant: pure functions; each returns the parsed value or raises CommandError(code REFUSED) with what is wrong
and what would be right. The grammars are devservers_core's.
"""

from __future__ import annotations

from dataclasses import dataclass

from devservers_core import grammar, names
from devservers_core.duration import parse_duration
from devservers_core.errors import REFUSED, USAGE, CommandError, InvalidValueError
from devservers_core.protocol.agent.exchange import MAX_REASON
from devservers_core.quantity import parse_quantity


def refusal(what: str, remedy: str) -> CommandError:
    """A CommandError with the exit code of a refused value."""
    return CommandError(what, remedy, REFUSED)


def server_name(name: str) -> str:
    """Check a server's name.

    It has up to 40 small letters, digits and dashes, a letter first.
    """
    if len(name) > grammar.SERVER_NAME_MAX:
        raise refusal(
            f"the name {name[:60]!r} has {len(name)} characters, at most {grammar.SERVER_NAME_MAX} are allowed",
            f"take a shorter one, for example {_suggest(name)}",
        )
    if not grammar.fits(name, grammar.SERVER_NAME, grammar.SERVER_NAME_MAX):
        raise refusal(
            f"{name!r} is not a server name",
            "use two or more small letters, digits and dashes, a letter first and no dash at the end,"
            f" for example {_suggest(name)}",
        )
    return name


def _suggest(name: str) -> str:
    return grammar.slug(name, grammar.SERVER_NAME_MAX) or "mydev"


def user_name(name: str) -> bool:
    """Whether `name` has a user name's syntax."""
    return grammar.fits(name, grammar.USER_NAME, grammar.USER_NAME_MAX)


def user_name_rule(name: str) -> str:
    """Describe a user name's syntax, with one similar to `name`: jane.doe@x.org -> jane-doe."""
    rule = f"user names have 2 to {grammar.USER_NAME_MAX} small letters, digits and dashes, a letter first"
    similar = grammar.slug(name.partition("@")[0], grammar.USER_NAME_MAX)
    return f"{rule} and no dash at the end" + (f", for example {similar}" if similar else "")


def home_size(text: str, flag: str = "--home-size") -> str | None:
    """Check the size of a home; None for `none` and `0` (no persistent home)."""
    if text in ("none", "0"):
        return None
    try:
        size = parse_quantity(text)
    except InvalidValueError:
        raise refusal(
            f"{flag} {text!r} is not a size", "write a number and a unit, for example 10Gi or 500Mi"
        ) from None
    if size < 1024 * 1024:
        raise refusal(f"{flag} {text!r} is less than one mebibyte", "did you mean a unit, for example 10Gi?")
    return text


def duration(text: str, flag: str) -> int:
    """Parse a duration like `2h30m` or `1d` into seconds, at least 1."""
    try:
        return int(parse_duration(text).total_seconds())
    except InvalidValueError:
        raise refusal(f"{flag} {text!r} is not a duration", "write it like 30m, 2h30m or 1d") from None


def reason(text: str, flag: str = "--reason") -> str:
    """Check a reason that others read: one line of up to MAX_REASON characters."""
    if not text.strip():
        raise CommandError("the reason is missing", f"say why in one line: {flag} 'training until Friday'", USAGE)
    if len(text) > MAX_REASON or not text.isprintable():
        raise refusal(
            f"{flag} has {len(text)} characters or a line break", f"write one line of at most {MAX_REASON} characters"
        )
    return text


def image(text: str) -> str:
    """Check an image reference."""
    if not grammar.fits(text, grammar.IMAGE, grammar.IMAGE_MAX):
        remedy = "write it like debian:12 or registry.example.com/team/image:tag"
        if text != text.lower() and grammar.fits(text.lower(), grammar.IMAGE, grammar.IMAGE_MAX):
            remedy = f"names are in small letters: {text.lower()}"
        raise refusal(f"{text[:100]!r} is not an image reference", remedy)
    return text


def secret_references(variables: list[str], files: list[str]) -> list[dict[str, str]]:
    """Parse `--secret VAR=NAME[/KEY]` and `--secret-file FILE=NAME[/KEY]` into the API's list."""
    references: list[dict[str, str]] = []
    for field, flag, texts in (("env", "--secret", variables), ("file", "--secret-file", files)):
        for text in texts:
            target, _, source = text.partition("=")
            name, slash, key = source.partition("/")
            if (
                not target
                or not grammar.fits(name, grammar.SECRET_NAME, grammar.SECRET_NAME_MAX)
                or (slash and not grammar.fits(key, grammar.SECRET_KEY, grammar.SECRET_KEY_MAX))
            ):
                # Not the text itself: it may be a value that was taken for a reference.
                example = "HF_TOKEN=huggingface" if field == "env" else "id_ed25519=deploy-key"
                raise refusal(f"a {flag} doesn't name a secret", f"write {flag} {example}; `devctl secret list`")
            _secret_target(flag, field, target)
            if any(reference.get(field) == target for reference in references):
                raise refusal(f"{flag} {target} is given twice", "give it once")
            references.append({"name": name, **({"key": key} if slash else {}), field: target})
    return references


def _secret_target(flag: str, field: str, target: str) -> None:
    """Check what has a secret's value: the name of a variable or of a file."""
    if field == "env":
        _variable_name(flag, target)
    elif not grammar.fits(target, grammar.SECRET_KEY, grammar.SECRET_KEY_MAX):
        remedy = f"use up to {grammar.SECRET_KEY_MAX} letters, digits and . _ -, no dot first"
        raise refusal(f"{flag} {target[:80]!r} is not the name of a file", remedy)


def _variable_name(flag: str, key: str) -> None:
    """Check the name of a variable that a person sets."""
    if not grammar.fits(key, grammar.ENV_NAME, grammar.ENV_NAME_MAX):
        raise refusal(f"{flag} {key[:80]!r} is not a variable name", "use letters, digits and _, no digit first")
    if key.startswith(names.RESERVED_ENV_PREFIX):
        raise refusal(f"{flag} {key} is reserved", f"choose a name without {names.RESERVED_ENV_PREFIX}")
    if key in names.ACCOUNT_ENV:
        remedy = f"leave it out; {', '.join(names.ACCOUNT_ENV)} are the same in every server"
        raise refusal(f"{flag} {key} can't be set: it is the account's own", remedy)


def environment_variables(pairs: list[str]) -> list[dict[str, str]]:
    """Parse `KEY=VALUE` arguments into the API's env list; a key may appear once."""
    variables: dict[str, str] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise refusal(f"--env {pair!r} has no value", f"write --env {key or 'KEY'}=VALUE")
        _variable_name("--env", key)
        if key in variables:
            raise refusal(f"--env {key} is given twice", "give it once")
        variables[key] = value
    return [{"name": key, "value": value} for key, value in variables.items()]


@dataclass(frozen=True)
class Mount:
    """A `-v` option: a PersistentVolumeClaim and its mount path."""

    claim: str
    path: str
    read_only: bool

    def to_api(self) -> dict[str, object]:
        """The mount as an entry of spec.volumes."""
        entry: dict[str, object] = {"claimName": self.claim, "mountPath": self.path}
        if self.read_only:
            entry["readOnly"] = True
        return entry


def claim(text: str, flag: str) -> str:
    """Check a PersistentVolumeClaim's name."""
    if not grammar.fits(text, grammar.DNS_NAME, grammar.CLAIM_NAME_MAX):
        raise refusal(f"{flag} {text!r} is not the name of a volume", "`devctl volume list` shows yours")
    return text


def mount(text: str) -> Mount:
    """Parse `PVC:/path` or `PVC:/path:ro`."""
    name, *rest = text.split(":")
    if not rest or len(rest) > 2 or (len(rest) == 2 and rest[1] not in ("ro", "rw")):
        raise refusal(f"-v {text!r} is not a volume", "write it like -v CLAIM:/path or -v CLAIM:/path:ro")
    claim(name, "-v")
    path = rest[0]
    if not path.startswith("/"):
        raise refusal(f"-v {text!r}: the path {path!r} is not absolute", f"write -v {name}:/{path or 'data'}")
    clean = path.rstrip("/")
    if {".", ".."} & set(path.split("/")) or "//" in path or not path.isprintable():
        raise refusal(f"-v {text!r}: the path has '.', '..', '//' or a control character", "write the path out")
    if not clean:
        raise refusal("a volume cannot be mounted at /", f"write -v {name}:/data, for example")
    for reserved in names.RESERVED_PATHS:
        if clean == reserved or clean.startswith(reserved + "/"):
            raise refusal(f"-v {text!r}: {reserved} belongs to the system", f"mount it elsewhere: -v {name}:/data")
    return Mount(name, clean, len(rest) == 2 and rest[1] == "ro")


def mounts(texts: list[str], shared: str | None) -> list[Mount]:
    """Parse all `-v` options of a command; each path may appear once, /shared included."""
    parsed = [mount(text) for text in texts]
    if len(parsed) > names.MAX_VOLUMES:
        raise refusal(f"{len(parsed)} volumes are given, at most {names.MAX_VOLUMES} are allowed", "leave some out")
    seen: dict[str, str] = {names.SHARED_PATH: shared} if shared else {}
    for volume in parsed:
        if volume.path in seen:
            raise refusal(
                f"{volume.path} is used twice, by {seen[volume.path]} and {volume.claim}",
                "give each volume its own path",
            )
        seen[volume.path] = volume.claim
    return parsed
