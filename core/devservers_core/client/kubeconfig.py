"""Reads and writes kubeconfig files, and finds the target in force.

Invariant: a file that was read is never changed. Merging of several files follows kubectl: the first file that names
a thing wins.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol

from devservers_core.errors import USAGE, CommandError
from devservers_core.types import Json

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class TokenSource(Protocol):
    """A source of bearer tokens that stands in for a kubeconfig's user entry."""

    def token(self, refused: bool) -> str:
        """A bearer token that holds now.

        `refused` says that the API server did not take the one before.
        """


@dataclass(frozen=True)
class Target:
    """One API server and one identity.

    `cluster` and `user` are the kubeconfig entries as they stand, their relative paths made absolute; `namespace` is
    the context's own, if it has one. With `tokens` the identity comes from there, and no proxy is used.
    """

    server: str
    context: str
    source: str
    namespace: str | None
    cluster: Mapping[str, Any] = field(default_factory=dict, repr=False)
    user: Mapping[str, Any] = field(default_factory=dict, repr=False)
    tokens: TokenSource | None = field(default=None, repr=False)


def load(
    kubeconfig: str | None, context: str | None, environ: Mapping[str, str], remedy: str = "set KUBECONFIG"
) -> Target:
    """The target in force: the file given, else $KUBECONFIG, else ~/.kube/config, else the pod's own account.

    Raises CommandError; `remedy` is what to do when no cluster is configured at all.
    """
    explicit = kubeconfig is not None
    if kubeconfig is not None:
        paths = [Path(kubeconfig)] if Path(kubeconfig).exists() else files(kubeconfig)
    elif environ.get("KUBECONFIG"):
        paths = files(environ["KUBECONFIG"])
    else:
        paths = [Path(environ.get("HOME") or "~").expanduser() / ".kube" / "config"]
    present = [path for path in paths if path.is_file()]
    if not present:
        if explicit:
            raise CommandError(
                f"there is no kubeconfig file {kubeconfig}", "check the path; `make up` makes the local one", USAGE
            )
        if environ.get("KUBERNETES_SERVICE_HOST") and (SERVICE_ACCOUNT / "token").is_file():
            return in_cluster(environ)
        raise CommandError(
            "no cluster is configured: there is no " + " and no ".join(str(p) for p in paths),
            remedy,
            USAGE,
        )
    return select(merge(present), context, ":".join(str(p) for p in present))


def files(text: str) -> list[Path]:
    """The kubeconfig files of a list as in $KUBECONFIG."""
    return [Path(path).expanduser() for path in text.split(os.pathsep) if path]


def in_cluster(environ: Mapping[str, str]) -> Target:
    """The target a pod is given by its service account."""
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
    namespace = SERVICE_ACCOUNT / "namespace"
    return Target(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        context="in-cluster",
        source=str(SERVICE_ACCOUNT),
        namespace=namespace.read_text().strip() if namespace.is_file() else None,
        cluster={"certificate-authority": str(SERVICE_ACCOUNT / "ca.crt")},
        user={"tokenFile": str(SERVICE_ACCOUNT / "token")},
    )


def merge(paths: list[Path]) -> Json:
    """Several kubeconfig files as one: {current-context, clusters, users, contexts} with entries by name."""
    merged: Json = {"current-context": "", "clusters": {}, "users": {}, "contexts": {}}
    for path in paths:
        document = read(path)
        merged["current-context"] = merged["current-context"] or document.get("current-context") or ""
        for group, key in (("clusters", "cluster"), ("users", "user"), ("contexts", "context")):
            for entry in document.get(group) or []:
                if isinstance(entry, dict) and isinstance(entry.get(key), dict):
                    merged[group].setdefault(str(entry.get("name")), _absolute(entry[key], path.parent))
    return merged


def read(path: Path) -> Json:
    """The content of one kubeconfig file; raises CommandError."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        document = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(
            f"kubeconfig {path} cannot be read: {error}", "check the file and its rights", USAGE
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise CommandError(f"kubeconfig {path}{line} is not YAML", "correct the file", USAGE) from None
    if document is not None and not isinstance(document, dict):
        raise CommandError(f"kubeconfig {path} is not a kubeconfig", "correct the file", USAGE)
    return document or {}


def _absolute(entry: Json, folder: Path) -> Json:
    result = dict(entry)
    for key in ("certificate-authority", "client-certificate", "client-key", "tokenFile"):
        if result.get(key):
            result[key] = str(folder / Path(result[key]).expanduser())
    return result


def select(merged: Json, context: str | None, source: str) -> Target:
    """One context out of a merged kubeconfig; the current one when `context` is None."""
    name = context or merged["current-context"]
    contexts = ", ".join(merged["contexts"]) or "none"
    if not name:
        raise CommandError(
            f"kubeconfig {source} has no current context", f"name one of its contexts: {contexts}", USAGE
        )
    if name not in merged["contexts"]:
        near = get_close_matches(name, merged["contexts"], 1)
        remedy = f"did you mean {near[0]}? Known are: {contexts}" if near else f"known are: {contexts}"
        raise CommandError(f"there is no context {name!r} in kubeconfig {source}", remedy, USAGE)
    chosen = merged["contexts"][name]
    cluster = merged["clusters"].get(chosen.get("cluster"))
    user = merged["users"].get(chosen.get("user"), {})
    if not cluster or not cluster.get("server"):
        raise CommandError(
            f"context {name!r} names cluster {chosen.get('cluster')!r}, which kubeconfig {source} does not describe",
            "correct the kubeconfig",
            USAGE,
        )
    _check_user(user, f"user {chosen.get('user')!r} of kubeconfig {source}")
    return Target(str(cluster["server"]), name, source, chosen.get("namespace"), cluster, user)


def _check_user(user: Mapping[str, Any], where: str) -> None:
    """Refuse what kubectl refuses, and what would be left out in silence.

    Raises CommandError.
    """
    if user.get("auth-provider"):
        raise CommandError(
            f"{where} logs in with auth-provider, which Kubernetes 1.26 has removed",
            "use the log-in program of your provider, as an entry `exec`",
            USAGE,
        )
    if user.get("username") and (user.get("token") or user.get("tokenFile")):
        raise CommandError(f"{where} has a username and a token", "take one of the two away", USAGE)
    if user.get("password") and not user.get("username"):
        raise CommandError(f"{where} has a password and no username", "add the username", USAGE)
    for given in ("as-uid", "as-groups", "as-user-extra"):
        if user.get(given) and not user.get("as"):
            raise CommandError(f"{where} has {given} and no `as`", "add the user's name as `as`", USAGE)
    halves = [any(user.get(f"client-{half}{form}") for form in ("", "-data")) for half in ("certificate", "key")]
    if halves[0] != halves[1]:
        has, lacks = ("certificate", "key") if halves[0] else ("key", "certificate")
        raise CommandError(f"{where} has a client-{has} and no client-{lacks}", f"add its client-{lacks}", USAGE)


def document(context: str, cluster: Mapping[str, Any], user: Mapping[str, Any], namespace: str | None = None) -> Json:
    """A kubeconfig of one context, whose cluster and user have its name."""
    chosen = {"cluster": context, "user": context} | ({"namespace": namespace} if namespace else {})
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [{"name": context, "cluster": dict(cluster)}],
        "users": [{"name": context, "user": dict(user)}],
        "contexts": [{"name": context, "context": chosen}],
    }


def embedded(path: Path) -> str:
    """A file's content as the entries whose names end in `-data` hold it."""
    return base64.b64encode(path.read_bytes()).decode()


def write(path: Path, content: Mapping[str, Any]) -> Path:
    """Writes a kubeconfig, as JSON (which is YAML), that only its owner can read from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps(content, indent=2) + "\n")
    return path
