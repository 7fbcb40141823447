"""Explains the API server's refusals in two lines.

Invariant: every failure that a user sees is a CommandError with one line of what is wrong and one line of what to do.
"""

from __future__ import annotations

import re

from devservers_core.errors import (
    FORBIDDEN,
    NOT_FOUND,
    REFUSED,
    ApiError,
    CommandError,
    UnreachableError,
    one_line,
)
from devservers_core.names import GPU, SERVER_COUNT, SNAPSHOT_COUNT


def no_server(name: str, existing: list[str], where: str) -> CommandError:
    """The error for a server that does not exist, with a similar name."""
    from difflib import get_close_matches

    similar = get_close_matches(name, existing, 1)
    remedy = f"did you mean {similar[0]}? `devctl list` shows all" if similar else "`devctl list` shows your servers"
    if not existing:
        remedy = f"you have none; `devctl create {name}` makes it"
    return CommandError(f"there is no server {name} {where}", remedy, NOT_FOUND)


def split_advice(message: str) -> tuple[str, str | None]:
    """Split an API message of the form "what; remedy"; the remedy may be None."""
    what, separator, remedy = message.partition("; ")
    return (what, remedy) if separator else (message, None)


def from_api(error: ApiError, doing: str) -> CommandError:
    """Turn a refusal of the API server into two lines. `doing` completes "could not ...".

    Examples of what is recognised: CEL and schema refusals (422), a ValidatingAdmissionPolicy, an exceeded
    quota, a missing right, a missing kind, an object that exists already.
    """
    message = one_line(error.message)
    if error.status == 401:
        return CommandError(
            f"could not {doing}: the cluster does not accept your credentials",
            "log in again, or check the context with `devctl info`",
            FORBIDDEN,
        )
    if error.status == 404:
        return _not_found(error, message, doing)
    denied = re.search(r"ValidatingAdmissionPolicy '[^']*' with binding '[^']*' denied request: (.*)$", message)
    if denied:
        what, remedy = split_advice(denied.group(1))
        return CommandError(what, remedy or "correct it and try again, or ask an administrator", REFUSED)
    if "exceeded quota" in message:
        return _quota(message)
    if "status unknown for quota" in message:
        return CommandError(
            f"could not {doing}: Kubernetes has not counted yet what you have",
            "try again in a few minutes: after an installation it takes up to five",
        )
    if error.status == 403:
        return _forbidden(error, message, doing)
    if error.status == 409 and error.reason == "AlreadyExists":
        name = error.details.get("name", "it")
        return CommandError(
            f"{name} exists already",
            f"`devctl describe {name}` shows it; choose another name, or `devctl delete {name}` first",
        )
    if error.status in (400, 422):
        return _invalid(error, message)
    return CommandError(
        f"could not {doing}: {message or error.reason}", "try again; `devctl test-k8s` checks the cluster"
    )


def _not_found(error: ApiError, message: str, doing: str) -> CommandError:
    kind, name = error.details.get("kind", ""), error.details.get("name", "")
    if kind == "namespaces" or message.startswith("namespaces "):
        return CommandError(
            f"there is no namespace {name} on this cluster, so its user does not exist here",
            "give the right user with --user, or ask an administrator for a DevServerUser",
            NOT_FOUND,
        )
    if kind == "devservers" and name:
        return CommandError(f"there is no server {name}", "`devctl list` shows your servers", NOT_FOUND)
    if not name and "could not find the requested resource" in message:
        return CommandError(
            f"could not {doing}: this cluster does not have the devservers.io kinds",
            "check the context with `devctl info`; `make up` installs the platform",
            NOT_FOUND,
        )
    return CommandError(f"could not {doing}: {message}", "check the name; `devctl list` shows your servers", NOT_FOUND)


def _quota(message: str) -> CommandError:
    match = re.search(
        r"exceeded quota: (?P<name>[^,]+), requested: (?P<asked>.*?), used: (?P<used>.*?), limited: (?P<limit>.*)$",
        message,
    )
    what, remedy = "this would exceed your quota", _QUOTA_ADVICE["running"]
    if match:
        requested, used, limit = (_amounts(match[part]) for part in ("asked", "used", "limit"))
        parts = [
            f"{quota_label(key)}: {used.get(key, '?')} of {limit.get(key, '?')} in use, {amount} more asked"
            for key, amount in requested.items()
        ]
        what += f" ({'; '.join(parts)})"
        kinds = {_quota_kind(key) for key in requested}
        remedy = next(text for kind, text in _QUOTA_ADVICE.items() if kind in kinds)
    return CommandError(what, remedy, REFUSED)


_QUOTA_ADVICE = {
    "servers": "delete a server, stopped ones count too (`devctl list`), or ask an administrator",
    "snapshots": "delete a snapshot (`devctl volume snapshot list`), or ask an administrator",
    "storage": "take a smaller size, delete a volume (`devctl volume list`) or a home (`devctl delete NAME --purge`),"
    " or ask an administrator",
    "running": "stop a server (`devctl list`), take a smaller flavor, or ask an administrator",
}
"""The remedy for an exceeded quota, by its kind; the first that applies is printed."""


def _amounts(text: str) -> dict[str, str]:
    return {key: amount for key, _, amount in (part.strip().rpartition("=") for part in text.split(","))}


def _quota_kind(key: str) -> str:
    if key.startswith("count/devservers."):
        return "servers"
    if key == SNAPSHOT_COUNT:
        return "snapshots"
    return "storage" if "storage" in key or "persistentvolumeclaims" in key else "running"


def quota_label(key: str) -> str:
    """The user's word for a key of a ResourceQuota: `requests.nvidia.com/gpu` -> `GPUs`."""
    labels = {
        SERVER_COUNT: "servers",
        SNAPSHOT_COUNT: "snapshots",
        "requests.cpu": "CPUs",
        "requests.memory": "memory",
        f"requests.{GPU}": "GPUs",
        "requests.storage": "storage",
        "requests.ephemeral-storage": "local disk",
        "persistentvolumeclaims": "volumes",
    }
    storage_class, separator, what = key.partition(".storageclass.storage.k8s.io/")
    if separator:
        return f"{'volumes' if what == 'persistentvolumeclaims' else 'storage'} of class {storage_class}"
    return labels.get(key, key.removeprefix("requests."))


def _forbidden(error: ApiError, message: str, doing: str) -> CommandError:
    right = re.search(r'User "([^"]+)" cannot (\S+) resource "([^"]+)"', message)
    if right:
        who, verb, resource = right.groups()
        namespace = re.search(r'in the namespace "([^"]+)"', message)
        where = f" in namespace {namespace.group(1)}" if namespace else ""
        return CommandError(
            f"could not {doing}: {who} may not {verb} {resource}{where}",
            "check user and namespace with `devctl info`, or ask an administrator",
            FORBIDDEN,
        )
    if "is being terminated" in message:
        return CommandError(f"could not {doing}: the namespace is being deleted", "wait until it is gone", FORBIDDEN)
    text = message.split(" is forbidden: ", 1)[-1]
    return CommandError(f"could not {doing}: {text}", "ask an administrator", FORBIDDEN)


def _invalid(error: ApiError, message: str) -> CommandError:
    remedy: str | None = None
    parts: list[str] = []
    for cause in error.causes:
        text = re.sub(r"^Invalid value: .*?: (?=\S)", "", one_line(str(cause.get("message", ""))))
        # The API server adds this line when a schema error kept it from running the CEL rules.
        if "some validation rules were not checked" in text:
            continue
        text, advice = split_advice(text)
        remedy = remedy or advice
        field = str(cause.get("field", ""))
        parts.append(f"{field}: {text}" if field and field != "<nil>" else text)
    if not parts:
        text, remedy = split_advice(re.sub(r"^.*? is invalid: ", "", message))
        parts = [text]
    return CommandError("; ".join(dict.fromkeys(parts)), remedy or "correct the value and try again", REFUSED)


def explain(error: Exception, doing: str = "do that") -> CommandError:
    """Turn any expected exception into a CommandError; raise every other one."""
    if isinstance(error, CommandError):
        return error
    if isinstance(error, ApiError):
        return from_api(error, doing)
    if isinstance(error, UnreachableError) and error.maybe_applied:
        return CommandError(
            f"the cluster did not answer in time or closed the connection: {error}; the change may have been made",
            "look before you try again (`devctl list`)",
        )
    if isinstance(error, UnreachableError):
        return CommandError(
            f"the cluster does not answer: {error}",
            "is it running (`make up` starts the local one) and is the context right (`devctl info`)?",
        )
    raise error
