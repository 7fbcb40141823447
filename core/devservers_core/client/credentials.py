"""TLS settings and identity headers of a target, also by exec plugins.

Invariant: secrets stay in memory; a client key touches the disk only as a private temporary file while OpenSSL loads
it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from devservers_core.errors import FORBIDDEN, USAGE, CommandError

if TYPE_CHECKING:
    import ssl

    from devservers_core.client.kubeconfig import Target
    from devservers_core.types import Json


def tls(target: Target, client_pair: tuple[str, str] | None = None) -> ssl.SSLContext:
    """The TLS settings of a target.

    `client_pair` is (certificate, key) in PEM from an exec plugin.
    """
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
        raise CommandError(
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

    with tempfile.NamedTemporaryFile("w", prefix="devservers-") as file:  # mode 0600, gone at once
        file.write(certificate.rstrip("\n") + "\n" + key)
        file.flush()
        settings.load_cert_chain(file.name)


def headers(target: Target) -> list[tuple[str, str]]:
    """Static identity headers: bearer token (read anew from a token file) or password, and impersonation."""
    user = target.user
    fields: list[tuple[str, str]] = []
    if user.get("tokenFile"):
        try:
            fields.append(("Authorization", "Bearer " + Path(user["tokenFile"]).read_text().strip()))
        except OSError as error:
            raise CommandError(f"the token cannot be read: {error}", "log in again", FORBIDDEN) from None
    elif user.get("token"):
        fields.append(("Authorization", f"Bearer {user['token']}"))
    elif user.get("username"):
        pair = f"{user['username']}:{user.get('password') or ''}"
        fields.append(("Authorization", "Basic " + base64.b64encode(pair.encode()).decode()))
    if user.get("as"):
        fields.append(("Impersonate-User", str(user["as"])))
    if user.get("as-uid"):
        fields.append(("Impersonate-Uid", str(user["as-uid"])))
    fields += [("Impersonate-Group", str(group)) for group in user.get("as-groups") or []]
    for key, given in (user.get("as-user-extra") or {}).items():
        # A key may hold what no header's name may, such as a slash.
        fields += [(f"Impersonate-Extra-{quote(str(key).lower(), safe='')}", str(value)) for value in given or []]
    return fields


@dataclass(frozen=True)
class Credential:
    """What an exec plugin gave: a bearer token, a client certificate with its key, or both, and until when."""

    token: str | None = field(repr=False)
    pair: tuple[str, str] | None = field(repr=False)
    expires: datetime | None = None

    def expired(self) -> bool:
        """Whether its time is over.

        One without an end holds until the API server refuses it.
        """
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
        raise CommandError(
            f"the log-in program {command!r} needs a terminal", "log in from a terminal first", FORBIDDEN
        )
    interactive = interactive and mode != "Never"
    info: Json = {
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
        raise CommandError(
            f"the log-in program {command!r} cannot be run: {error.strerror}", str(hint), FORBIDDEN
        ) from None
    if done.returncode != 0:
        raise CommandError(
            f"the log-in program {command!r} failed with code {done.returncode}", "log in again", FORBIDDEN
        )
    try:
        return _credential(json.loads(done.stdout)["status"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CommandError(f"the log-in program {command!r} gave no credential", "log in again", FORBIDDEN) from None


def certificate_authority(cluster: Mapping[str, Any]) -> str:
    """The CA of a cluster's entry in base64, empty when it names none. Raises CommandError."""
    path = cluster.get("certificate-authority")
    if cluster.get("certificate-authority-data") or not path:
        return str(cluster.get("certificate-authority-data") or "")
    try:
        return base64.b64encode(Path(path).read_bytes()).decode()
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}", "correct the kubeconfig", USAGE) from None


def _for_plugin(cluster: Mapping[str, Any]) -> Json:
    """A cluster's entry as the plugin protocol wants it: the CA as data, and the plugin's own settings as `config`."""
    keys = ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url")
    settings = {key: cluster[key] for key in keys if cluster.get(key)}
    if authority := certificate_authority(cluster):
        settings["certificate-authority-data"] = authority
    for extension in cluster.get("extensions") or []:
        if extension.get("name") == "client.authentication.k8s.io/exec":
            settings["config"] = extension.get("extension")
    return settings


def _credential(status: Mapping[str, Any]) -> Credential:
    """The status of an ExecCredential.

    Raises ValueError and the like where it holds none.
    """
    token, pair, end = status.get("token"), None, status.get("expirationTimestamp")
    if status.get("clientCertificateData") or status.get("clientKeyData"):
        pair = (str(status["clientCertificateData"]), str(status["clientKeyData"]))
    if not token and not pair:
        raise ValueError("neither a token nor a certificate")
    expires = datetime.fromisoformat(end) if end else None
    if expires is not None and expires.tzinfo is None:
        raise ValueError("a time without a zone")
    return Credential(str(token) if token else None, pair, expires)
