"""Finding the API server and the credentials."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from devservers_core.client import kubeconfig
from devservers_core.errors import CommandError

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


def test_load_without_a_context_takes_the_current_one(file: Path) -> None:
    target = kubeconfig.load(str(file), None, {})
    assert (target.server, target.context, target.namespace) == ("https://one:6443", "one", "dev-ann")


def test_load_with_a_context_takes_it(file: Path) -> None:
    assert kubeconfig.load(str(file), "two", {}).server == "https://two:6443"


def test_load_resolves_paths_relative_to_the_file(file: Path) -> None:
    assert kubeconfig.load(str(file), None, {}).cluster["certificate-authority"] == str(file.parent / "ca.crt")


@pytest.mark.parametrize(("context", "says"), [("twoo", "did you mean two"), ("broken", "correct the kubeconfig")])
def test_load_of_an_unusable_context_explains_it(file: Path, context: str, says: str) -> None:
    with pytest.raises(CommandError) as caught:
        kubeconfig.load(str(file), context, {})
    assert says in caught.value.remedy


def test_load_of_several_files_takes_the_first_definition(file: Path, tmp_path: Path) -> None:
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


def test_load_of_a_list_of_files_by_the_flag_takes_them_all(file: Path, tmp_path: Path) -> None:
    assert kubeconfig.load(f"{tmp_path / 'none'}:{file}", None, {}).server == "https://one:6443"
    odd = tmp_path / "a:b"
    odd.write_text(CONFIG)
    assert kubeconfig.load(str(odd), "two", {}).server == "https://two:6443"


def test_load_without_a_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as caught:
        kubeconfig.load(None, None, {"HOME": str(tmp_path)})
    assert "set KUBECONFIG" in caught.value.remedy


def test_load_of_invalid_yaml_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("current-context: x\nusers: []\nclusters: }\n")
    with pytest.raises(CommandError) as caught:
        kubeconfig.load(str(path), None, {})
    assert f"{path} line 3" in caught.value.what


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
def test_load_of_an_unsupported_entry_is_refused_by_its_name(
    tmp_path: Path, user: dict[str, object], says: str
) -> None:
    path = tmp_path / "config"
    path.write_text(json.dumps(kubeconfig.document("c", {"server": "https://x"}, user)))
    with pytest.raises(CommandError) as caught:
        kubeconfig.load(str(path), None, {})
    assert says in caught.value.what
    assert "user 'c' of kubeconfig" in caught.value.what
    assert "x" not in caught.value.what.split()
    assert caught.value.remedy


def test_load_in_a_pod_finds_its_own_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeconfig, "SERVICE_ACCOUNT", tmp_path)
    (tmp_path / "token").write_text("t")
    (tmp_path / "namespace").write_text("dev-ann\n")
    environ = {"HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    target = kubeconfig.load(None, None, environ)
    assert (target.server, target.namespace) == ("https://[fd00::1]:6443", "dev-ann")
    assert target.user == {"tokenFile": str(tmp_path / "token")}


def test_write_is_read_back_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(b"PEM")
    path = tmp_path / "new" / "config"
    cluster = {"server": "https://x", "certificate-authority-data": kubeconfig.embedded(tmp_path / "ca.crt")}
    written = kubeconfig.write(path, kubeconfig.document("mine", cluster, {"token": "t"}, "dev-ann"))
    assert written == path
    assert path.stat().st_mode & 0o777 == 0o600
    target = kubeconfig.load(str(path), None, {})
    assert (target.server, target.context, target.namespace) == ("https://x", "mine", "dev-ann")
    assert target.cluster == cluster
    assert target.user == {"token": "t"}
