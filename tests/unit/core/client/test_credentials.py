"""TLS settings, identity headers and log-in programs of a target."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from devcluster.node.pki import Authority
from devservers_core.client import credentials
from devservers_core.client.kubeconfig import Target
from devservers_core.errors import CommandError


def target(user: dict[str, object]) -> Target:
    """A target with an entry `user`."""
    return Target("https://x", "c", "s", None, user=user)


def test_token_and_impersonation_become_headers() -> None:
    headers = credentials.headers(target({"token": "secret", "as": "eva"}))
    assert headers == [("Authorization", "Bearer secret"), ("Impersonate-User", "eva")]


def test_headers_carry_every_kind_of_impersonation() -> None:
    user = {"as": "eva", "as-uid": "7", "as-groups": ["a", "b"], "as-user-extra": {"example.org/Scope": ["x", "y"]}}
    assert credentials.headers(Target("https://x", "c", "s", None, user=user)) == [
        ("Impersonate-User", "eva"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Extra-example.org%2Fscope", "x"),
        ("Impersonate-Extra-example.org%2Fscope", "y"),
    ]


def test_username_and_password_become_a_header() -> None:
    user = {"username": "änn", "password": "a:b"}
    headers = credentials.headers(Target("https://x", "c", "s", None, user=user))
    assert headers == [("Authorization", "Basic " + base64.b64encode("änn:a:b".encode()).decode())]


def test_certificate_and_key_may_be_inline_or_in_files(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).issue("ann", "ann")
    for user in (
        {"client-certificate": str(certificate), "client-key-data": base64.b64encode(key.read_bytes()).decode()},
        {"client-certificate-data": base64.b64encode(certificate.read_bytes()).decode(), "client-key": str(key)},
    ):
        credentials.tls(Target("https://x", "c", "s", None, user=user))


def test_token_file_is_read_each_time(tmp_path: Path) -> None:
    token = tmp_path / "token"
    target = Target("https://x", "c", "s", None, user={"tokenFile": str(token)})
    token.write_text("one\n")
    assert dict(credentials.headers(target))["Authorization"] == "Bearer one"
    token.write_text("two\n")
    assert dict(credentials.headers(target))["Authorization"] == "Bearer two"


def plugin(tmp_path: Path, body: str, **more: object) -> Target:
    program = tmp_path / "login"
    program.write_text(f"#!{sys.executable}\nimport json, os, sys\n{body}\n")
    program.chmod(0o755)
    user = {"exec": {"command": str(program), "apiVersion": "client.authentication.k8s.io/v1", **more}}
    return Target("https://x", "c", str(tmp_path / "config"), None, {"server": "https://x"}, user)


def test_login_program_gives_a_token_and_is_given_the_cluster(tmp_path: Path) -> None:
    body = """
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
words = [info["spec"]["cluster"]["server"], os.environ["MORE"], *sys.argv[1:]]
print(json.dumps({"status": {"token": " ".join(words)}}))
"""
    target = plugin(tmp_path, body, args=["a"], env=[{"name": "MORE", "value": "more"}], provideClusterInfo=True)
    assert credentials.run_plugin(target, {"PATH": "/usr/bin:/bin"}, False).token == "https://x more a"


def test_login_program_is_given_the_authority_and_its_own_settings(tmp_path: Path) -> None:
    target = plugin(tmp_path, "print(json.dumps({'status': {'token': os.environ['KUBERNETES_EXEC_INFO']}}))",
                    provideClusterInfo=True)  # fmt: skip
    (tmp_path / "ca.crt").write_text("PEM")
    cluster = {
        "server": "https://x", "certificate-authority": str(tmp_path / "ca.crt"), "proxy-url": "http://p",
        "extensions": [{"name": "client.authentication.k8s.io/exec", "extension": {"audience": "a"}}],
    }  # fmt: skip
    told = credentials.run_plugin(replace(target, cluster=cluster), {"PATH": "/usr/bin:/bin"}, False).token
    assert json.loads(told or "")["spec"]["cluster"] == {
        "server": "https://x", "certificate-authority-data": base64.b64encode(b"PEM").decode(),
        "proxy-url": "http://p", "config": {"audience": "a"},
    }  # fmt: skip


@pytest.mark.parametrize(("mode", "told"), [(None, True), ("IfAvailable", True), ("Never", False), ("Always", True)])
def test_login_program_gets_the_terminal_by_its_mode(tmp_path: Path, mode: str | None, told: bool) -> None:
    body = "print(json.dumps({'status': {'token': os.environ['KUBERNETES_EXEC_INFO']}}))"
    given = credentials.run_plugin(plugin(tmp_path, body, interactiveMode=mode), {"PATH": "/usr/bin:/bin"}, True).token
    assert json.loads(given or "")["spec"]["interactive"] is told


def test_login_program_that_needs_a_terminal_is_not_run_without_one(tmp_path: Path) -> None:
    target = plugin(tmp_path, "print(json.dumps({'status': {'token': 't'}}))", interactiveMode="Always")
    with pytest.raises(CommandError) as caught:
        credentials.run_plugin(target, {"PATH": "/usr/bin:/bin"}, False)
    assert "needs a terminal" in caught.value.what


@pytest.mark.parametrize(
    ("end", "expired"), [(None, False), ("2020-01-01T00:00:00Z", True), ("2120-01-01T00:00:00.5+02:00", False)]
)
def test_credential_ends_when_its_program_says(tmp_path: Path, end: str | None, expired: bool) -> None:
    body = f"print(json.dumps({{'status': {{'token': 't', 'expirationTimestamp': {end!r}}}}}))"
    assert credentials.run_plugin(plugin(tmp_path, body), {"PATH": "/usr/bin:/bin"}, False).expired() is expired


@pytest.mark.parametrize(
    "body",
    [
        "sys.exit(3)", "print('hello')", "print('{}')", "print(json.dumps({'status': None}))",
        "print(json.dumps({'status': {}}))", "print(json.dumps({'status': {'clientKeyData': 'x'}}))",
        "print(json.dumps({'status': {'token': 't', 'expirationTimestamp': 'soon'}}))",
        "print(json.dumps({'status': {'token': 't', 'expirationTimestamp': '2020-01-01T00:00:00'}}))",
    ],
)  # fmt: skip
def test_login_program_that_fails_is_explained(tmp_path: Path, body: str) -> None:
    with pytest.raises(CommandError) as caught:
        credentials.run_plugin(plugin(tmp_path, body), {"PATH": "/usr/bin:/bin"}, False)
    assert "log in again" in caught.value.remedy


def test_login_program_that_is_not_installed_is_explained(tmp_path: Path) -> None:
    user = {"exec": {"command": "no-such-login-program", "installHint": "install it so"}}
    target = Target("https://x", "c", str(tmp_path), None, user=user)
    with pytest.raises(CommandError) as caught:
        credentials.run_plugin(target, {"PATH": "/usr/bin:/bin"}, False)
    assert caught.value.remedy == "install it so"


def test_certificates_that_cannot_be_used_are_explained() -> None:
    cluster = {"certificate-authority-data": base64.b64encode(b"nonsense").decode()}
    with pytest.raises(CommandError) as caught:
        credentials.tls(Target("https://x", "c", "s", None, cluster))
    assert "certificates" in caught.value.what


def test_certificate_bundle_may_have_comments_in_any_encoding(tmp_path: Path) -> None:
    """As Mozilla's list of authorities has them."""
    authority = Authority(tmp_path).certificate.read_bytes()
    for comment in ("# NetLock Arany Főtanúsítvány\n".encode(), "# Autorité\n".encode("latin-1")):
        cluster = {"certificate-authority-data": base64.b64encode(comment + authority).decode()}
        settings = credentials.tls(Target("https://x", "c", "s", None, cluster))
        assert settings.cert_store_stats()["x509_ca"] == 1
