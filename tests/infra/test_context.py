"""The choice of a local cluster by context and kubeconfig, and its refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.local.context import Choice, ContextError, Kubeconfig, choose, read

EMBEDDED = Path("/state/node/kubeconfig")
HOME = Path("/home/ann/.kube/config")


def config(current: str | None, servers: dict[str, str], proxy: str = "") -> Kubeconfig:
    content: dict[str, Any] = {
        "clusters": [
            {"name": f"c-{n}", "cluster": {"server": s} | ({"proxy-url": proxy} if proxy else {})}
            for n, s in servers.items()
        ],
        "contexts": [{"name": n, "context": {"cluster": f"c-{n}", "user": "u"}} for n in servers],
    }
    if current:
        content["current-context"] = current
    return Kubeconfig(HOME, content)


LOCAL = [
    ("k3d-dev", "https://0.0.0.0:6550"),
    ("k3d-dev", "https://host.docker.internal:6550"),
    ("kind-kind", "https://127.0.0.1:40000"),
    ("kind-kind", "https://[::1]:40000"),
    ("kind-kind", "https://localhost:40000"),
    ("minikube", "https://192.168.49.2:8443"),
    ("minikube", "https://172.17.0.3:8443"),
    ("minikube", "https://10.1.2.3:8443"),
]
NOT_LOCAL = [
    ("prod", "https://127.0.0.1:6443", "name prod"),
    ("kind-", "https://127.0.0.1:6443", "name kind-"),
    ("minikube-prod", "https://127.0.0.1:6443", "name minikube-prod"),
    ("kind-kind", "https://203.0.113.9:6443", "203.0.113.9"),
    ("k3d-dev", "https://k8s.example.com", "k8s.example.com"),
    ("minikube", "https://10.example.com", "10.example.com"),
    ("minikube", "https://100.64.0.1", "100.64.0.1"),
    ("minikube", "https://169.254.169.254", "169.254.169.254"),
    ("minikube", "", "(none)"),
    ("minikube", "https://[::ffff:8.8.8.8]", "ffff"),
    ("minikube", "https://[bad", "bad"),
]


@pytest.mark.parametrize(("name", "server"), LOCAL)
@pytest.mark.parametrize("explicit", [True, False])
def test_local_context_is_chosen(name: str, server: str, explicit: bool) -> None:
    env = {"DEVSERVERS_CONTEXT": name} if explicit else {}
    kubeconfig = config("other" if explicit else name, {name: server, "other": "https://8.8.8.8"})
    choice = choose(env, [kubeconfig], EMBEDDED)
    assert (choice.kubeconfig, choice.context, choice.embedded) == (HOME, name, False)


@pytest.mark.parametrize(("name", "server", "what"), NOT_LOCAL)
def test_non_local_context_by_name_is_refused(name: str, server: str, what: str) -> None:
    with pytest.raises(ContextError) as caught:
        choose({"DEVSERVERS_CONTEXT": name}, [config(name, {name: server})], EMBEDDED)
    problem, remedy = str(caught.value).splitlines()
    assert what in problem
    assert f"DEVSERVERS_CONTEXT={name}" in problem
    assert "k3d-*, kind-* or minikube" in remedy


@pytest.mark.parametrize(("name", "server", "what"), NOT_LOCAL)
def test_non_local_current_context_falls_back_to_the_embedded_cluster(name: str, server: str, what: str) -> None:
    choice = choose({}, [config(name, {name: server})], EMBEDDED)
    assert choice.embedded
    assert choice.kubeconfig == EMBEDDED
    assert what in choice.reason


def test_context_through_a_proxy_is_refused() -> None:
    kubeconfig = config("minikube", {"minikube": "https://10.0.0.1"}, "http://proxy:3128")
    with pytest.raises(ContextError, match="through a proxy"):
        choose({"DEVSERVERS_CONTEXT": "minikube"}, [kubeconfig], EMBEDDED)


def test_unknown_context_lists_the_known_ones() -> None:
    with pytest.raises(ContextError, match="use one of kind-a, minikube, embedded"):
        choose(
            {"DEVSERVERS_CONTEXT": "kind-b"},
            [config(None, {"minikube": "https://10.0.0.1", "kind-a": "https://127.0.0.1"})],
            EMBEDDED,
        )


def test_no_kubeconfig_chooses_the_embedded_cluster() -> None:
    assert choose({}, [], EMBEDDED) == Choice(
        EMBEDDED, None, "the embedded cluster: no kubeconfig has a current context"
    )


@pytest.mark.parametrize("env", [{"DEVSERVERS_CONTEXT": "embedded"}, {"DEVSERVERS_KUBECONFIG": str(EMBEDDED)}])
def test_embedded_cluster_by_name_or_kubeconfig_is_chosen(env: dict[str, str]) -> None:
    assert choose(env, [config("minikube", {"minikube": "https://10.0.0.1"})], EMBEDDED).embedded


def test_no_cluster_at_all_gives_one_message() -> None:
    with pytest.raises(ContextError) as caught:
        choose({}, [], EMBEDDED, "it needs root")
    problem, remedy = str(caught.value).splitlines()
    assert "it needs root" in problem
    assert "k3d cluster create" in remedy


def test_kubeconfigs_in_several_files_are_merged() -> None:
    whole = config("minikube", {"minikube": "https://10.0.0.1"}).content
    first = Kubeconfig(Path("/a"), {"current-context": "minikube"})
    second = Kubeconfig(Path("/b"), {"contexts": whole["contexts"]})
    third = Kubeconfig(Path("/c"), {"clusters": whole["clusters"]})
    choice = choose({}, [first, second, third], EMBEDDED)
    assert (choice.kubeconfig, choice.context) == (Path("/b"), "minikube")


def test_read_follows_kubectls_file_order(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text("current-context: home\n")
    (tmp_path / "a").write_text("current-context: a\n")
    home = {"HOME": str(tmp_path)}
    listed = home | {"KUBECONFIG": f"{tmp_path / 'missing'}:{tmp_path / 'a'}"}
    assert [k.content["current-context"] for k in read(home)] == ["home"]
    assert [k.content["current-context"] for k in read(listed)] == ["a"]
    assert read(listed | {"DEVSERVERS_KUBECONFIG": str(tmp_path / "missing")}) == []


def test_broken_kubeconfig_error_names_its_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("contexts:\n  - name: a\n bad: [\n")
    with pytest.raises(ContextError, match=r"kubeconfig .*broken line \d+ is not YAML"):
        read({"KUBECONFIG": str(broken)})
