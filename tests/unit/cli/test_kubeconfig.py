"""Finding the API server and the credentials."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from devctl import kubeconfig
from devservers_core.errors import Failure
from infra.local.pki import Authority

CONFIG = """\
current-context: one
clusters:
- name: k1
  cluster: {server: "https://one:6443", certificate-authority: ca.crt}
- name: k2
  cluster: {server: "https://two:6443"}
users:
- name: ann
  user: {token: secret, as: eva}
contexts:
- name: one
  context: {cluster: k1, user: ann, namespace: dev-ann}
- name: two
  context: {cluster: k2, user: ann}
- name: broken
  context: {cluster: nowhere, user: ann}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    path.write_text(CONFIG)
    return path


def test_the_current_context_is_taken(file: Path) -> None:
    target = kubeconfig.load(str(file), None, {})
    assert (target.server, target.context, target.namespace) == ("https://one:6443", "one", "dev-ann")


def test_a_context_can_be_chosen(file: Path) -> None:
    assert kubeconfig.load(str(file), "two", {}).server == "https://two:6443"


def test_paths_are_relative_to_the_file(file: Path) -> None:
    assert kubeconfig.load(str(file), None, {}).cluster["certificate-authority"] == str(file.parent / "ca.crt")


@pytest.mark.parametrize(("context", "says"), [("twoo", "did you mean two"), ("broken", "correct the kubeconfig")])
def test_a_context_that_cannot_be_used_is_explained(file: Path, context: str, says: str) -> None:
    with pytest.raises(Failure) as caught:
        kubeconfig.load(str(file), context, {})
    assert says in caught.value.todo


def test_of_several_files_the_first_that_names_a_thing_wins(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text(
        'current-context: two\nclusters: [{name: k1, cluster: {server: "https://other:6443"}}]\n'
        "users: [{name: bob, user: {}}]\n"
    )
    both = {"KUBECONFIG": f"{file}:{other}", "HOME": str(tmp_path)}
    assert kubeconfig.load(None, None, both).server == "https://one:6443"
    turned = {"KUBECONFIG": f"{other}:{file}", "HOME": str(tmp_path)}
    assert kubeconfig.load(None, None, turned).context == "two"
    assert kubeconfig.load(None, "one", turned).server == "https://other:6443"


def test_a_list_of_files_is_taken_by_the_flag_too(file: Path, tmp_path: Path) -> None:
    assert kubeconfig.load(f"{tmp_path / 'none'}:{file}", None, {}).server == "https://one:6443"
    odd = tmp_path / "a:b"
    odd.write_text(CONFIG)
    assert kubeconfig.load(str(odd), "two", {}).server == "https://two:6443"


def test_no_file_at_all_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        kubeconfig.load(None, None, {"HOME": str(tmp_path)})
    assert "make up" in caught.value.todo and "devctl config set bastion" in caught.value.todo


def test_a_file_that_is_no_yaml_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("current-context: x\nusers: []\nclusters: }\n")
    with pytest.raises(Failure) as caught:
        kubeconfig.load(str(path), None, {})
    assert f"{path} line 3" in caught.value.what


def test_token_and_impersonation_become_headers(file: Path) -> None:
    headers = kubeconfig.headers(kubeconfig.load(str(file), None, {}))
    assert headers == [("Authorization", "Bearer secret"), ("Impersonate-User", "eva")]


def test_headers_carry_every_kind_of_impersonation() -> None:
    user = {"as": "eva", "as-uid": "7", "as-groups": ["a", "b"], "as-user-extra": {"example.org/Scope": ["x", "y"]}}
    assert kubeconfig.headers(kubeconfig.Target("https://x", "c", "s", None, user=user)) == [
        ("Impersonate-User", "eva"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Extra-example.org%2Fscope", "x"),
        ("Impersonate-Extra-example.org%2Fscope", "y"),
    ]


def test_a_username_and_its_password_become_a_header() -> None:
    user = {"username": "änn", "password": "a:b"}
    headers = kubeconfig.headers(kubeconfig.Target("https://x", "c", "s", None, user=user))
    assert headers == [("Authorization", "Basic " + base64.b64encode("änn:a:b".encode()).decode())]


@pytest.mark.parametrize(
    ("user", "says"),
    [
        ({"auth-provider": {"name": "oidc"}}, "auth-provider"),
        ({"username": "ann", "password": "x", "token": "t"}, "a username and a token"),
        ({"password": "x"}, "a password and no username"),
        ({"token": "t", "as-groups": ["team"]}, "has as-groups and no `as`"),
        ({"token": "t", "as-uid": "7"}, "has as-uid and no `as`"),
        ({"token": "t", "as-user-extra": {"a": ["b"]}}, "has as-user-extra and no `as`"),
        ({"client-certificate": "x.crt"}, "a client-certificate and no client-key"),
        ({"client-key-data": "eA=="}, "a client-key and no client-certificate"),
    ],
)
def test_an_entry_that_would_be_left_out_is_refused_by_its_name(
    tmp_path: Path, user: dict[str, object], says: str
) -> None:
    path = tmp_path / "config"
    path.write_text(json.dumps(document(user)))
    with pytest.raises(Failure) as caught:
        kubeconfig.load(str(path), None, {})
    assert says in caught.value.what and "user 'ann' of kubeconfig" in caught.value.what
    assert "x" not in caught.value.what.split() and caught.value.todo


def test_a_certificate_and_its_key_may_be_one_in_the_file_and_one_beside_it(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).issue("ann", "ann")
    for user in (
        {"client-certificate": str(certificate), "client-key-data": base64.b64encode(key.read_bytes()).decode()},
        {"client-certificate-data": base64.b64encode(certificate.read_bytes()).decode(), "client-key": str(key)},
    ):
        kubeconfig.tls(kubeconfig.Target("https://x", "c", "s", None, user=user))


def document(user: dict[str, object]) -> dict[str, object]:
    """A kubeconfig of one person."""
    return {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "ann"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://x"}}],
        "users": [{"name": "ann", "user": user}],
    }


def test_a_token_file_is_read_each_time(tmp_path: Path) -> None:
    token = tmp_path / "token"
    target = kubeconfig.Target("https://x", "c", "s", None, user={"tokenFile": str(token)})
    token.write_text("one\n")
    assert dict(kubeconfig.headers(target))["Authorization"] == "Bearer one"
    token.write_text("two\n")
    assert dict(kubeconfig.headers(target))["Authorization"] == "Bearer two"


def plugin(tmp_path: Path, body: str, **more: object) -> kubeconfig.Target:
    program = tmp_path / "login"
    program.write_text(f"#!{sys.executable}\nimport json, os, sys\n{body}\n")
    program.chmod(0o755)
    user = {"exec": {"command": str(program), "apiVersion": "client.authentication.k8s.io/v1", **more}}
    return kubeconfig.Target("https://x", "c", str(tmp_path / "config"), None, {"server": "https://x"}, user)


def test_a_log_in_program_gives_a_token_and_is_told_the_cluster(tmp_path: Path) -> None:
    body = """
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
words = [info["spec"]["cluster"]["server"], os.environ["MORE"], *sys.argv[1:]]
print(json.dumps({"status": {"token": " ".join(words)}}))
"""
    target = plugin(tmp_path, body, args=["a"], env=[{"name": "MORE", "value": "more"}], provideClusterInfo=True)
    assert kubeconfig.run_plugin(target, {"PATH": "/usr/bin:/bin"}, False).token == "https://x more a"


def test_a_log_in_program_is_told_the_authority_and_its_own_settings(tmp_path: Path) -> None:
    target = plugin(tmp_path, "print(json.dumps({'status': {'token': os.environ['KUBERNETES_EXEC_INFO']}}))",
                    provideClusterInfo=True)  # fmt: skip
    (tmp_path / "ca.crt").write_text("PEM")
    cluster = {
        "server": "https://x", "certificate-authority": str(tmp_path / "ca.crt"), "proxy-url": "http://p",
        "extensions": [{"name": "client.authentication.k8s.io/exec", "extension": {"audience": "a"}}],
    }  # fmt: skip
    told = kubeconfig.run_plugin(replace(target, cluster=cluster), {"PATH": "/usr/bin:/bin"}, False).token
    assert json.loads(told or "")["spec"]["cluster"] == {
        "server": "https://x", "certificate-authority-data": base64.b64encode(b"PEM").decode(),
        "proxy-url": "http://p", "config": {"audience": "a"},
    }  # fmt: skip


@pytest.mark.parametrize(("mode", "told"), [(None, True), ("IfAvailable", True), ("Never", False), ("Always", True)])
def test_a_log_in_program_gets_the_terminal_by_its_mode(tmp_path: Path, mode: str | None, told: bool) -> None:
    body = "print(json.dumps({'status': {'token': os.environ['KUBERNETES_EXEC_INFO']}}))"
    given = kubeconfig.run_plugin(plugin(tmp_path, body, interactiveMode=mode), {"PATH": "/usr/bin:/bin"}, True).token
    assert json.loads(given or "")["spec"]["interactive"] is told


def test_a_log_in_program_that_needs_a_terminal_is_not_run_without(tmp_path: Path) -> None:
    target = plugin(tmp_path, "print(json.dumps({'status': {'token': 't'}}))", interactiveMode="Always")
    with pytest.raises(Failure) as caught:
        kubeconfig.run_plugin(target, {"PATH": "/usr/bin:/bin"}, False)
    assert "needs a terminal" in caught.value.what


@pytest.mark.parametrize(
    ("end", "expired"), [(None, False), ("2020-01-01T00:00:00Z", True), ("2120-01-01T00:00:00.5+02:00", False)]
)
def test_a_credential_ends_when_its_program_says(tmp_path: Path, end: str | None, expired: bool) -> None:
    body = f"print(json.dumps({{'status': {{'token': 't', 'expirationTimestamp': {end!r}}}}}))"
    assert kubeconfig.run_plugin(plugin(tmp_path, body), {"PATH": "/usr/bin:/bin"}, False).expired() is expired


@pytest.mark.parametrize(
    "body",
    [
        "sys.exit(3)", "print('hello')", "print('{}')", "print(json.dumps({'status': None}))",
        "print(json.dumps({'status': {}}))", "print(json.dumps({'status': {'clientKeyData': 'x'}}))",
        "print(json.dumps({'status': {'token': 't', 'expirationTimestamp': 'soon'}}))",
        "print(json.dumps({'status': {'token': 't', 'expirationTimestamp': '2020-01-01T00:00:00'}}))",
    ],
)  # fmt: skip
def test_a_log_in_program_that_fails_is_explained(tmp_path: Path, body: str) -> None:
    with pytest.raises(Failure) as caught:
        kubeconfig.run_plugin(plugin(tmp_path, body), {"PATH": "/usr/bin:/bin"}, False)
    assert "log in again" in caught.value.todo


def test_a_log_in_program_that_is_not_installed_is_explained(tmp_path: Path) -> None:
    user = {"exec": {"command": "no-such-login-program", "installHint": "install it so"}}
    target = kubeconfig.Target("https://x", "c", str(tmp_path), None, user=user)
    with pytest.raises(Failure) as caught:
        kubeconfig.run_plugin(target, {"PATH": "/usr/bin:/bin"}, False)
    assert caught.value.todo == "install it so"


def test_certificates_that_cannot_be_used_are_explained() -> None:
    cluster = {"certificate-authority-data": base64.b64encode(b"nonsense").decode()}
    with pytest.raises(Failure) as caught:
        kubeconfig.tls(kubeconfig.Target("https://x", "c", "s", None, cluster))
    assert "certificates" in caught.value.what


def test_a_bundle_may_have_comments_in_any_encoding(tmp_path: Path) -> None:
    """As Mozilla's list of authorities has them."""
    authority = Authority(tmp_path).certificate.read_bytes()
    for comment in ("# NetLock Arany Főtanúsítvány\n".encode(), "# Autorité\n".encode("latin-1")):
        cluster = {"certificate-authority-data": base64.b64encode(comment + authority).decode()}
        settings = kubeconfig.tls(kubeconfig.Target("https://x", "c", "s", None, cluster))
        assert settings.cert_store_stats()["x509_ca"] == 1


def test_a_pod_finds_its_own_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeconfig, "SERVICE_ACCOUNT", tmp_path)
    (tmp_path / "token").write_text("t")
    (tmp_path / "namespace").write_text("dev-ann\n")
    environ = {"HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    target = kubeconfig.load(None, None, environ)
    assert (target.server, target.namespace) == ("https://[fd00::1]:6443", "dev-ann")
    assert kubeconfig.headers(target) == [("Authorization", "Bearer t")]
