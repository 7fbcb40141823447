"""Finding the API server and the credentials: kubeconfig files, token files, exec plugins, in-cluster.

Invariant: nothing is written to a kubeconfig, and secrets stay in memory (a client key touches the disk
only as a private temporary file while OpenSSL loads it). Merging of several files follows kubectl: the
first file that names a thing wins.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from devctl import broker
from devservers_core.errors import FORBIDDEN, USAGE, Failure

if TYPE_CHECKING:
    import ssl

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True)
class Target:
    """One API server and one identity. `cluster` and `user` are the kubeconfig entries as they stand, their
    relative paths made absolute; `namespace` is the context's own, if it has one."""

    server: str
    context: str
    source: str
    namespace: str | None
    cluster: Mapping[str, Any] = field(default_factory=dict, repr=False)
    user: Mapping[str, Any] = field(default_factory=dict, repr=False)


def load(kubeconfig: str | None, context: str | None, environ: Mapping[str, str]) -> Target:
    """The target in force: the file given, else $KUBECONFIG, else ~/.kube/config, else the pod's own account.

    On the bastion there is the broker and nothing else: a kubeconfig may name programs, and nobody's run there.
    """
    if environ.get(broker.VARIABLE):
        if kubeconfig or context:
            raise Failure("the bastion has one cluster, no kubeconfig", "leave out --kubeconfig and --context", USAGE)
        return on_bastion(environ[broker.VARIABLE])
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
            raise Failure(
                f"there is no kubeconfig file {kubeconfig}", "check the path; `make up` makes the local one", USAGE
            )
        if environ.get("KUBERNETES_SERVICE_HOST") and (SERVICE_ACCOUNT / "token").is_file():
            return in_cluster(environ)
        raise Failure(
            "no cluster is configured: there is no " + " and no ".join(str(p) for p in paths),
            "`devctl config set bastion HOST` if there is a bastion, `make up` for a local cluster, or set KUBECONFIG",
            USAGE,
        )
    return select(merge(present), context, ":".join(str(p) for p in present))


def files(text: str) -> list[Path]:
    """The kubeconfig files of a list as in $KUBECONFIG."""
    return [Path(each).expanduser() for each in text.split(os.pathsep) if each]


def on_bastion(path: str) -> Target:
    """The target that the bastion's broker gives; `path` is its socket. Raises Failure."""
    grant = broker.ask(path, {"want": "token"})
    return Target(
        server=str(grant["server"]),
        context="bastion",
        source="the bastion's broker",
        namespace=str(grant["namespace"]),
        cluster={"certificate-authority-data": grant["certificateAuthority"]},
        user={"broker": path, "grant": grant},
    )


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


def merge(paths: list[Path]) -> dict[str, Any]:
    """Several kubeconfig files as one: {current-context, clusters, users, contexts} with entries by name."""
    merged: dict[str, Any] = {"current-context": "", "clusters": {}, "users": {}, "contexts": {}}
    for path in paths:
        document = _read(path)
        merged["current-context"] = merged["current-context"] or document.get("current-context") or ""
        for group, key in (("clusters", "cluster"), ("users", "user"), ("contexts", "context")):
            for entry in document.get(group) or []:
                if isinstance(entry, dict) and isinstance(entry.get(key), dict):
                    merged[group].setdefault(str(entry.get("name")), _absolute(entry[key], path.parent))
    return merged


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        document = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"kubeconfig {path} cannot be read: {error}", "check the file and its rights", USAGE) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise Failure(f"kubeconfig {path}{line} is not YAML", "correct the file", USAGE) from None
    if document is not None and not isinstance(document, dict):
        raise Failure(f"kubeconfig {path} is not a kubeconfig", "correct the file", USAGE)
    return document or {}


def _absolute(entry: dict[str, Any], folder: Path) -> dict[str, Any]:
    result = dict(entry)
    for key in ("certificate-authority", "client-certificate", "client-key", "tokenFile"):
        if result.get(key):
            result[key] = str(folder / Path(result[key]).expanduser())
    return result


def select(merged: dict[str, Any], context: str | None, source: str) -> Target:
    """One context out of a merged kubeconfig; the current one when `context` is None."""
    name = context or merged["current-context"]
    known = ", ".join(merged["contexts"]) or "none"
    if not name:
        raise Failure(
            f"kubeconfig {source} has no current context", f"give one with --context; known are: {known}", USAGE
        )
    if name not in merged["contexts"]:
        near = get_close_matches(name, merged["contexts"], 1)
        todo = f"did you mean {near[0]}? Known are: {known}" if near else f"known are: {known}"
        raise Failure(f"there is no context {name!r} in kubeconfig {source}", todo, USAGE)
    chosen = merged["contexts"][name]
    cluster = merged["clusters"].get(chosen.get("cluster"))
    user = merged["users"].get(chosen.get("user"), {})
    if not cluster or not cluster.get("server"):
        raise Failure(
            f"context {name!r} names cluster {chosen.get('cluster')!r}, which kubeconfig {source} does not describe",
            "correct the kubeconfig",
            USAGE,
        )
    _check_user(user, f"user {chosen.get('user')!r} of kubeconfig {source}")
    return Target(str(cluster["server"]), name, source, chosen.get("namespace"), cluster, user)


def _check_user(user: Mapping[str, Any], where: str) -> None:
    """Refuse what kubectl refuses, and what would be left out in silence; raises Failure."""
    if user.get("auth-provider"):
        raise Failure(
            f"{where} logs in with auth-provider, which Kubernetes 1.26 has removed",
            "use the log-in program of your provider, as an entry `exec`",
            USAGE,
        )
    if user.get("username") and (user.get("token") or user.get("tokenFile")):
        raise Failure(f"{where} has a username and a token", "take one of the two away", USAGE)
    if user.get("password") and not user.get("username"):
        raise Failure(f"{where} has a password and no username", "add the username", USAGE)
    for given in ("as-uid", "as-groups", "as-user-extra"):
        if user.get(given) and not user.get("as"):
            raise Failure(f"{where} has {given} and no `as`", "add the user's name as `as`", USAGE)
    halves = [any(user.get(f"client-{half}{form}") for form in ("", "-data")) for half in ("certificate", "key")]
    if halves[0] != halves[1]:
        has, lacks = ("certificate", "key") if halves[0] else ("key", "certificate")
        raise Failure(f"{where} has a client-{has} and no client-{lacks}", f"add its client-{lacks}", USAGE)


def tls(target: Target, client_pair: tuple[str, str] | None = None) -> ssl.SSLContext:
    """The TLS settings of a target; `client_pair` is (certificate, key) in PEM from an exec plugin."""
    import ssl

    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    cluster, user = target.cluster, target.user
    try:
        if cluster.get("insecure-skip-tls-verify"):
            settings.check_hostname = False
            settings.verify_mode = ssl.CERT_NONE
        elif cluster.get("certificate-authority-data"):
            settings.load_verify_locations(cadata=_decode(cluster["certificate-authority-data"]))
        elif cluster.get("certificate-authority"):
            settings.load_verify_locations(cafile=cluster["certificate-authority"])
        else:
            settings.load_default_certs()
        if client_pair:
            _load_pair(settings, *client_pair)
        elif user.get("client-certificate-data") or user.get("client-key-data"):
            _load_pair(settings, _content(user, "client-certificate"), _content(user, "client-key"))
        elif user.get("client-certificate"):
            settings.load_cert_chain(user["client-certificate"], user["client-key"])
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise Failure(
            f"the certificates of context {target.context!r} cannot be used: {error}",
            f"check kubeconfig {target.source}",
            USAGE,
        ) from None
    return settings


def _decode(data: str) -> str:
    # A bundle may have comments between its certificates, in any encoding; Python takes PEM as ASCII text only.
    return base64.b64decode(data).decode("latin-1").encode("ascii", "replace").decode("ascii")


def _content(entry: Mapping[str, Any], key: str) -> str:
    """What an entry holds itself, which goes first, or the file that it names."""
    data = entry.get(f"{key}-data")
    return _decode(data) if data else Path(entry[key]).read_text()


def _load_pair(settings: ssl.SSLContext, certificate: str, key: str) -> None:
    # OpenSSL's Python face reads a client key only from a file.
    import tempfile

    with tempfile.NamedTemporaryFile("w", prefix="devctl-") as file:  # mode 0600, gone at once
        file.write(certificate.rstrip("\n") + "\n" + key)
        file.flush()
        settings.load_cert_chain(file.name)


def headers(target: Target) -> list[tuple[str, str]]:
    """Static identity headers: bearer token (read anew from a token file) or password, and impersonation."""
    user = target.user
    found: list[tuple[str, str]] = []
    if user.get("tokenFile"):
        try:
            found.append(("Authorization", "Bearer " + Path(user["tokenFile"]).read_text().strip()))
        except OSError as error:
            raise Failure(f"the token cannot be read: {error}", "log in again", FORBIDDEN) from None
    elif user.get("token"):
        found.append(("Authorization", f"Bearer {user['token']}"))
    elif user.get("username"):
        pair = f"{user['username']}:{user.get('password') or ''}"
        found.append(("Authorization", "Basic " + base64.b64encode(pair.encode()).decode()))
    if user.get("as"):
        found.append(("Impersonate-User", str(user["as"])))
    if user.get("as-uid"):
        found.append(("Impersonate-Uid", str(user["as-uid"])))
    found += [("Impersonate-Group", str(group)) for group in user.get("as-groups") or []]
    for key, given in (user.get("as-user-extra") or {}).items():
        # A key may hold what no header's name may, such as a slash.
        found += [(f"Impersonate-Extra-{quote(str(key).lower(), safe='')}", str(value)) for value in given or []]
    return found


@dataclass(frozen=True)
class Credential:
    """What an exec plugin gave: a bearer token, a client certificate with its key, or both, and until when."""

    token: str | None = field(repr=False)
    pair: tuple[str, str] | None = field(repr=False)
    expires: datetime | None = None

    def expired(self) -> bool:
        """Whether its time is over; one without an end holds until the API server refuses it."""
        return self.expires is not None and datetime.now(UTC) >= self.expires


def run_plugin(target: Target, environ: Mapping[str, str], interactive: bool) -> Credential:
    """Run the exec plugin of `target.user["exec"]` (client.authentication.k8s.io) and read its credential.

    `interactive` says whether there is a terminal that it may ask on.
    """
    import json
    import subprocess

    plugin = target.user["exec"]
    command = str(plugin.get("command", ""))
    if "/" in command and not Path(command).is_absolute():
        command = str(Path(target.source.split(":")[0]).parent / command)
    mode = plugin.get("interactiveMode")
    if mode == "Always" and not interactive:
        raise Failure(f"the log-in program {command!r} needs a terminal", "log in from a terminal first", FORBIDDEN)
    interactive = interactive and mode != "Never"
    info: dict[str, Any] = {
        "apiVersion": plugin.get("apiVersion", "client.authentication.k8s.io/v1"),
        "kind": "ExecCredential",
        "spec": {"interactive": interactive},
    }
    if plugin.get("provideClusterInfo"):
        info["spec"]["cluster"] = _for_plugin(target.cluster)
    extra = {str(e["name"]): str(e["value"]) for e in plugin.get("env") or []}
    try:
        done = subprocess.run(
            [command, *map(str, plugin.get("args") or [])],
            env={**environ, **extra, "KUBERNETES_EXEC_INFO": json.dumps(info)},
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=False,
        )
    except OSError as error:
        hint = plugin.get("installHint") or "install it, or choose another context"
        raise Failure(f"the log-in program {command!r} cannot be run: {error.strerror}", str(hint), FORBIDDEN) from None
    if done.returncode != 0:
        raise Failure(f"the log-in program {command!r} failed with code {done.returncode}", "log in again", FORBIDDEN)
    try:
        return _credential(json.loads(done.stdout)["status"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Failure(f"the log-in program {command!r} gave no credential", "log in again", FORBIDDEN) from None


def _for_plugin(cluster: Mapping[str, Any]) -> dict[str, Any]:
    """A cluster's entry as the plugin protocol wants it: the CA as data, and the plugin's own settings as `config`."""
    keys = ("server", "certificate-authority-data", "tls-server-name", "insecure-skip-tls-verify", "proxy-url")
    found = {key: cluster[key] for key in keys if cluster.get(key)}
    path = cluster.get("certificate-authority")
    if path and "certificate-authority-data" not in found:
        try:
            found["certificate-authority-data"] = base64.b64encode(Path(path).read_bytes()).decode()
        except OSError as error:
            raise Failure(f"{path} cannot be read: {error.strerror}", "correct the kubeconfig", USAGE) from None
    for extension in cluster.get("extensions") or []:
        if extension.get("name") == "client.authentication.k8s.io/exec":
            found["config"] = extension.get("extension")
    return found


def _credential(status: Mapping[str, Any]) -> Credential:
    """The status of an ExecCredential; raises ValueError and the like where it holds none."""
    token, pair, end = status.get("token"), None, status.get("expirationTimestamp")
    if status.get("clientCertificateData") or status.get("clientKeyData"):
        pair = (str(status["clientCertificateData"]), str(status["clientKeyData"]))
    if not token and not pair:
        raise ValueError("neither a token nor a certificate")
    expires = datetime.fromisoformat(end) if end else None
    if expires is not None and expires.tzinfo is None:
        raise ValueError("a time without a zone")
    return Credential(str(token) if token else None, pair, expires)
