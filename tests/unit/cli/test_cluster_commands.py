"""Tests `devctl status`, `info` and `test-k8s`, also with missing rights."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli.api_server import ApiServer
from tests.support.cli.run import Run

OPERATOR = "/apis/apps/v1/namespaces/devservers-system/deployments/devservers-operator"
KINDS = "/apis/devservers.io/v1"
USER = f"{KINDS}/devserverusers/ann"
SERVERS = f"{KINDS}/namespaces/dev-ann/devservers"
NAMESPACE = "/api/v1/namespaces/dev-ann"
QUOTAS = f"{NAMESPACE}/resourcequotas"
REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
ACCESS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@pytest.fixture
def platform(api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ApiServer:
    """A platform on which all is well, and a machine with an ssh."""
    (tmp_path / "ssh").write_text("#!/bin/sh\necho OpenSSH_10.0 >&2\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    api.put(OPERATOR, spec={"replicas": 2}, status={"readyReplicas": 2})
    api.put(USER, spec={}, status={"phase": "Active"})
    api.put(NAMESPACE)
    api.objects[KINDS] = {"resources": [{"name": "devservers", "kind": "DevServer"}, {"name": "a/status", "kind": "X"}]}
    api.answers[REVIEW] = lambda body: {"status": {"userInfo": {"username": "ann@example.org"}}}
    api.answers[ACCESS] = lambda body: {"status": {"allowed": True}}
    return api


def status(devctl: Run) -> dict[str, Any]:
    return dict(json.loads(devctl("status", "-o", "json").stdout))


def test_status_servers_are_counted_by_phase(platform: ApiServer, devctl: Run) -> None:
    platform.put(f"{SERVERS}/a", spec={}, status={"phase": "Running"})
    platform.put(f"{SERVERS}/b", spec={}, status={"phase": "Running"})
    platform.put(f"{SERVERS}/c", spec={})
    platform.put(f"{SERVERS}/d", spec={}, metadata={"deletionTimestamp": "2026-01-02T00:00:00Z"}, status={"phase": "X"})
    assert status(devctl)["servers"] == {"total": 4, "phases": {"Running": 2, "Pending": 1, "Terminating": 1}}
    text = devctl("status").stdout
    assert "1 Pending, 2 Running, 1 Terminating" in text
    assert "(v1.35.0)" in text
    assert "2 of 2 replicas ready" in text


@pytest.mark.parametrize(
    ("refusal", "operator", "user"),
    [
        (None, "2 of 2 replicas ready", "ann (Active)"),
        (404, "not installed", "ann (does not exist)"),
        (403, "not visible to you", "ann"),
    ],
)
def test_status_forbidden_parts_are_named(
    platform: ApiServer, devctl: Run, refusal: int | None, operator: str, user: str
) -> None:
    for path in (OPERATOR, USER) if refusal else ():
        platform.refuse("GET", path, (refusal or 0, "no"))
    found = status(devctl)
    assert (found["operator"], found["user"]) == (operator, user)


def test_status_without_fast_starts_says_nothing_of_them(platform: ApiServer, devctl: Run) -> None:
    found = status(devctl)
    assert (found["headroom"], found["prePulled"]) == ([], [])
    text = devctl("status").stdout
    assert "headroom" not in text
    assert "pre-pulled" not in text


def test_status_shows_headroom_and_pulled_images_by_pool(platform: ApiServer, devctl: Run) -> None:
    apps = OPERATOR.rpartition("/deployments")[0]
    labels = {"devservers.io/pool": "a10g", "devservers.io/headroom": "a10g"}
    placeholders = {"spec": {"replicas": 2}, "status": {"readyReplicas": 1}}
    platform.put(f"{apps}/deployments/headroom-a10g", metadata={"labels": labels}, **placeholders)
    pod = {"initContainers": [{"image": "l/ssh:1"}, {"image": "cuda:12.4"}], "containers": [{"image": "l/base:1"}]}
    platform.put(
        f"{apps}/daemonsets/pre-pull-a10g",
        metadata={"labels": {"devservers.io/pool": "a10g", "devservers.io/pre-pull": "true"}},
        spec={"template": {"spec": pod}},
        status={"numberReady": 3, "desiredNumberScheduled": 4},
    )
    found = status(devctl)
    assert found["headroom"] == [{"pool": "a10g", "flavor": "a10g", "ready": 1, "wanted": 2}]
    assert found["prePulled"] == [
        {"pool": "a10g", "images": ["l/ssh:1", "cuda:12.4", "l/base:1"], "nodesReady": 3, "nodes": 4}
    ]
    text = devctl("status").stdout
    assert "headroom in a10g:" in text
    assert "1 of 2 servers of a10g ready" in text
    assert "3 images on 3 of 4 nodes" in text
    platform.refuse("GET", f"{apps}/deployments", (403, "not you"))
    platform.refuse("GET", f"{apps}/daemonsets", (403, "not you"))
    assert "headroom" not in devctl("status").stdout


def test_status_user_without_status_is_not_set_up_yet(platform: ApiServer, devctl: Run) -> None:
    platform.put(USER, spec={})
    platform.put(OPERATOR, spec={}, status={})
    found = status(devctl)
    assert (found["operator"], found["user"]) == ("0 of 1 replicas ready", "ann (not set up yet)")


def test_status_quota_shows_used_and_allowed(platform: ApiServer, devctl: Run) -> None:
    hard = {"requests.cpu": "8", "services.nodeports": "0", "requests.storage": "50Gi"}
    platform.put(f"{QUOTAS}/dev-user", spec={"hard": hard}, status={"used": {"requests.cpu": "2"}})
    assert status(devctl)["quota"]["requests.cpu"] == ["2", "8"]
    assert status(devctl)["quota"]["requests.storage"] == ["0", "50Gi"]
    text = devctl("status").stdout
    assert "2 of 8 used" in text
    assert "0 of 50Gi used" in text
    assert "nodeports" not in text
    platform.refuse("GET", QUOTAS, (403, "no"))
    assert status(devctl)["quota"] == {}


@pytest.mark.parametrize(
    ("mark", "found", "text"),
    [
        (None, {}, ""),
        ("cpu=4,memory=1.5", {"cpu": 4.0, "memory": 1.5}, "cpu 4 times and memory 1.5 times over: servers take more"),
        ("cpu=2,memory=1", {"cpu": 2.0, "memory": 1.0}, "cpu 2 times over: servers take more"),
        ("cpu=lots", {}, ""),
    ],
)
def test_status_overcommitted_cluster_shows_the_factors(
    platform: ApiServer, devctl: Run, mark: str | None, found: dict[str, float], text: str
) -> None:
    annotations = {"devservers.io/overcommit": mark} if mark else {}
    platform.put(f"{KINDS}/devserverflavors/other", metadata={"annotations": annotations}, spec={})
    assert status(devctl)["overcommit"] == found
    shown = devctl("status").stdout
    assert text in shown
    assert ("overcommit" in shown) is bool(text)


def test_info_settings_show_value_and_source(platform: ApiServer, devctl: Run, tmp_path: Path) -> None:
    (tmp_path / ".config/devctl").mkdir(parents=True)
    (tmp_path / ".config/devctl/config.yaml").write_text("flavor: cpu-small\n")
    found = json.loads(devctl("info", "-o", "json", DEVCTL_IMAGE="debian:13").stdout)
    assert found["server"] == platform.url
    settings = {name: (each["value"], Path(each["source"]).name) for name, each in found["settings"].items()}
    assert settings["user"] == ("ann", "DEVCTL_USER")
    assert settings["flavor"] == ("cpu-small", "config.yaml")
    assert settings["image"] == ("debian:13", "DEVCTL_IMAGE")
    assert settings["namespace"] == ("dev-ann", "dev-USER")
    assert settings["context"] == ("test", "current context")
    assert settings["identityFile"] == ("your agent and ~/.ssh", "default")


def test_info_without_cluster_succeeds(run: Run, tmp_path: Path) -> None:
    done = run("info", KUBECONFIG=str(tmp_path / "nothing"))
    assert done.returncode == 0
    assert "API server:  none: " in done.stdout
    assert "(does not exist)" in done.stdout


def test_info_with_bastion_names_it_as_the_server(run: Run, tmp_path: Path) -> None:
    done = run("info", "-o", "json", DEVCTL_BASTION="ssh.example.org:2222", DEVCTL_USER="ann")
    assert "commands run on the bastion ssh.example.org:2222, as ann" in json.loads(done.stdout)["server"]


def marks(text: str) -> dict[str, str]:
    """What test-k8s shows: the mark of each check."""
    return {line[6:26].strip(): line[:4].strip() for line in text.splitlines()}


def test_test_k8s_healthy_platform_passes_every_check(platform: ApiServer, devctl: Run) -> None:
    done = devctl("test-k8s")
    assert done.stderr == "everything is in order\n"
    assert set(marks(done.stdout).values()) == {"ok"}
    assert len(marks(done.stdout)) == 9
    assert "ann@example.org" in done.stdout
    assert "DevServer\n" in done.stdout
    assert "cpu-small" in done.stdout
    asked = [body["spec"]["resourceAttributes"] for _, path, body in platform.writes if path == ACCESS and body]
    assert {each["namespace"] for each in asked} == {"dev-ann"}
    assert ("create", "pods", "exec") in [(each["verb"], each["resource"], each["subresource"]) for each in asked]


@pytest.mark.parametrize(
    ("path", "refusal", "check", "mark", "says"),
    [
        (KINDS, 404, "kinds installed", "FAIL", "the devservers.io kinds are missing"),
        (REVIEW, 403, "who you are", "skip", "the cluster does not tell"),
        (REVIEW, 500, "who you are", "FAIL", ""),
        (NAMESPACE, 403, "your namespace", "skip", "dev-ann is not visible to you"),
        (NAMESPACE, 404, "your namespace", "FAIL", "there is no namespace dev-ann"),
        (OPERATOR, 403, "operator", "skip", "not visible to you"),
        (OPERATOR, 404, "operator", "FAIL", "the operator: not installed"),
    ],
)
def test_test_k8s_forbidden_check_is_skipped_and_failed_check_fails(
    platform: ApiServer, devctl: Run, path: str, refusal: int, check: str, mark: str, says: str
) -> None:
    platform.refuse("POST" if path == REVIEW else "GET", path, (refusal, "no"))
    done = devctl("test-k8s", code=1 if mark == "FAIL" else 0)
    assert {name: found for name, found in marks(done.stdout).items() if found != "ok"} == {check: mark}
    assert says in done.stdout
    assert (f"the first is: {check}" in done.stderr) is (mark == "FAIL")


def test_test_k8s_missing_rights_are_named(platform: ApiServer, devctl: Run) -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        asked = body["spec"]["resourceAttributes"]
        return {"status": {"allowed": asked["verb"] != "delete" and asked["subresource"] != "exec"}}

    platform.answers[ACCESS] = answer
    done = devctl("test-k8s", code=1)
    assert "you may not delete devservers, create pods/exec in dev-ann" in done.stdout


@pytest.mark.parametrize("replicas", [{"readyReplicas": 0}, {}])
def test_test_k8s_operator_without_ready_replica_fails(
    platform: ApiServer, devctl: Run, replicas: dict[str, int]
) -> None:
    platform.put(OPERATOR, spec={"replicas": 1}, status=replicas)
    assert marks(devctl("test-k8s", code=1).stdout)["operator"] == "FAIL"


def test_test_k8s_without_flavors_and_ssh_fails(platform: ApiServer, devctl: Run) -> None:
    del platform.objects[f"{KINDS}/devserverflavors/cpu-small"]
    done = devctl("test-k8s", code=1, PATH="/nowhere")
    assert {name for name, mark in marks(done.stdout).items() if mark == "FAIL"} == {"flavors", "ssh program"}
    assert done.stderr.startswith("2 of the checks failed")


def test_test_k8s_unreachable_api_server_ends_the_checks(platform: ApiServer, devctl: Run) -> None:
    platform.close()
    done = devctl("test-k8s", code=1)
    assert marks(done.stdout) == {"settings": "ok", "API server answers": "FAIL"}
