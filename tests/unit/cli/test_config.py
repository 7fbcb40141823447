"""Tests the precedence of settings, and errors that name line and key of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from devctl.config import KEYS, Config, parse
from devctl.context import Context
from devctl.ssh.known_hosts import host_name
from devservers_core.client.kubeconfig import Target
from devservers_core.errors import USAGE, CommandError


def config(folder: Path, text: str | None = None, flags: dict[str, str | None] | None = None, **env: str) -> Config:
    if text is not None:
        (folder / "devctl").mkdir(exist_ok=True)
        (folder / "devctl" / "config.yaml").write_text(text)
    return Config(flags or {}, {"XDG_CONFIG_HOME": str(folder), "HOME": str(folder), **env})


def test_config_precedence_is_flag_environment_file_default(tmp_path: Path) -> None:
    text = "flavor: from-file\n"
    assert config(tmp_path).get("flavor") == "cpu-small"
    assert config(tmp_path, text).get("flavor") == "from-file"
    assert config(tmp_path, text, DEVCTL_FLAVOR="from-env").get("flavor") == "from-env"
    with_flag = config(tmp_path, text, {"flavor": "from-flag"}, DEVCTL_FLAVOR="from-env")
    assert with_flag.get("flavor") == "from-flag"


def test_config_settings_name_their_source(tmp_path: Path) -> None:
    found = config(tmp_path, "user: ann\n", {"context": "here"}, DEVCTL_IMAGE="debian:12")
    sources = {key: setting.source for key in KEYS if (setting := found.setting(key))}
    assert sources["user"].endswith("config.yaml")
    assert (sources["context"], sources["image"], sources["output"]) == ("flag", "DEVCTL_IMAGE", "default")


def test_config_relative_path_in_file_is_relative_to_the_file(tmp_path: Path) -> None:
    assert config(tmp_path, "identityFile: key\n").get("identityFile") == str(tmp_path / "devctl" / "key")


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("user: ann\nflavour: x\n", 2, "flavor"),
        ("user: ann\nuser: bob\n", 2, "twice"),
        ("user:\n  - ann\n", 1, "one value"),
        ("# hello\n\noutput: xml\n", 3, "xml"),
        ("user: ann\n\tflavor: x\n", 2, "not YAML"),
        ("user: 'ann\n", 2, "not YAML"),
        ("user:\nflavor: x\n", 1, "no value"),
        ("- user\n", 1, "key: value"),
        ("just words\n", 1, "key: value"),
    ],
)
def test_config_broken_file_names_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(CommandError) as caught:
        parse(text, Path("config.yaml"))
    failure = caught.value
    assert failure.code == USAGE
    assert f"config.yaml line {line}: " in failure.what
    assert says in failure.what + failure.remedy


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_config_empty_file_has_no_settings(tmp_path: Path, text: str) -> None:
    assert config(tmp_path, text).get("user") is None


def session(folder: Path, flags: dict[str, str | None], kubeconfig_namespace: str | None, **env: str) -> Context:
    namespace = f"namespace: {kubeconfig_namespace}" if kubeconfig_namespace else ""
    path = folder / "kubeconfig"
    path.write_text(
        "current-context: c\n"
        "clusters: [{name: k, cluster: {server: 'https://127.0.0.1:1'}}]\n"
        f"contexts: [{{name: c, context: {{cluster: k, user: u, {namespace}}}}}]\n"
    )
    return Context(flags, None, {"HOME": str(folder), "KUBECONFIG": str(path), **env})


def test_context_user_comes_from_flag_context_namespace_or_login(tmp_path: Path) -> None:
    assert session(tmp_path, {"user": "eva"}, "dev-ann", DEVCTL_USER="bob").user == "eva"
    assert session(tmp_path, {}, "dev-ann", DEVCTL_USER="bob").user == "bob"
    assert session(tmp_path, {}, "dev-ann", USER="carl").user == "ann"
    assert session(tmp_path, {}, "default", USER="carl").user == "carl"
    assert session(tmp_path, {}, None, USER="carl").namespace == "dev-carl"


def test_context_given_namespace_is_used(tmp_path: Path) -> None:
    assert session(tmp_path, {"namespace": "dev-team"}, None, USER="carl").namespace == "dev-team"


def test_context_login_root_is_no_user(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as caught:
        _ = session(tmp_path, {}, None, USER="root").user
    assert "--user" in caught.value.remedy


def test_connection_flags_relative_kubeconfig_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An editor has neither the terminal's environment nor its folder."""
    monkeypatch.chdir(tmp_path)
    both = session(tmp_path, {}, "dev-ann", KUBECONFIG=f"kubeconfig:{tmp_path / 'other'}", USER="ann")
    assert both.connection_flags() == ["--kubeconfig", f"{tmp_path / 'kubeconfig'}:{tmp_path / 'other'}"]
    for given in (
        session(tmp_path, {}, "dev-ann", KUBECONFIG="kubeconfig"),
        session(tmp_path, {"kubeconfig": "kubeconfig"}, "dev-ann"),
        session(tmp_path, {}, "dev-ann", DEVCTL_KUBECONFIG="kubeconfig"),
    ):
        flags = given.connection_flags()
        assert flags == ["--kubeconfig", str(tmp_path / "kubeconfig")]
        monkeypatch.chdir("/")
        again = Context({"kubeconfig": flags[1]}, None, {"HOME": str(tmp_path)})
        assert again.namespace == "dev-ann"
        monkeypatch.chdir(tmp_path)


def test_host_name_of_each_cluster_and_namespace_differs(tmp_path: Path) -> None:
    """They are what a ControlPath of %h or %C is made of, and have to fit into a Unix socket's name."""

    def host(namespace: str, server: str, name: str = "mydev") -> str:
        one = session(tmp_path, {"namespace": namespace}, None)
        one.target = Target(server, "c", "s", None)
        return host_name(one, name)

    found = {host("dev-ann", "https://a"), host("dev-bob", "https://a"), host("dev-ann", "https://b")}
    assert len(found) == 3
    assert all(each.startswith("mydev.") and each.endswith(".devserver") for each in found)
    assert host("dev-ann", "https://a") == host("dev-ann", "https://a")
    assert len(host("dev-ann", "https://a", "x" * 40)) < 64


def test_context_invalid_user_is_refused_with_its_source(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as caught:
        _ = session(tmp_path, {}, None, DEVCTL_USER="Ann Smith").user
    assert "DEVCTL_USER" in caught.value.what


def test_context_without_cluster_names_the_remedies(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as caught:
        _ = Context({}, None, {"HOME": str(tmp_path)}).target
    assert "make up" in caught.value.remedy
    assert "devctl config set bastion" in caught.value.remedy
