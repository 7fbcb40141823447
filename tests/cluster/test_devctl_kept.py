"""devctl's questions about kept and deleted homes, suspension and missing flavors."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cluster.client import Client
from tests.support.cluster.devctl import API, Devctl, condition, server, write_status
from tests.support.cluster.harness import ApiServer

FINALIZER = "example.com/in-use"
LONG_AGO = "2026-01-01T00:00:00Z"


@pytest.fixture
def devctl(cluster: ApiServer, namespace: str, user_name: str, tmp_path: Path) -> Devctl:
    resources = {"requests": {"cpu": "100m", "memory": "128Mi"}}
    for name in ("kept-small", f"kept-{user_name}"):
        metadata = {"name": name}
        cluster.admin.apply(
            {"apiVersion": API, "kind": "DevServerFlavor", "metadata": metadata, "spec": {"resources": resources}}
        )
    return Devctl(tmp_path, cluster.kubeconfig_for("test-admin", ("system:masters",)), user_name)


def home(admin: Client, namespace: str, size: str = "2Gi") -> None:
    """The home of mydev, held as a running pod would hold it."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    metadata = {
        "name": "mydev-home",
        "namespace": namespace,
        "finalizers": [FINALIZER],
        "annotations": {"devservers.io/home-of": "mydev"},
    }
    admin.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})


def release(admin: Client, namespace: str) -> None:
    admin.patch("v1", "PersistentVolumeClaim", "mydev-home", {"metadata": {"finalizers": None}}, namespace)


def test_home_being_deleted_is_shown_and_needs_confirmation(devctl: Devctl, admin: Client, namespace: str) -> None:
    home(admin, namespace)
    devctl("create", "mydev", "kept-small")
    running = condition("True", "Running", "It is running.")
    timeline = [{"stage": "Accepted", "at": LONG_AGO}]
    write_status(admin, namespace, phase="Running", timeline=timeline, conditions=[running])
    assert "2Gi on volume claim mydev-home, kept" in devctl("describe", "mydev").stdout
    admin.delete("v1", "PersistentVolumeClaim", "mydev-home", namespace)
    deleting = {
        **condition("True", "VolumeDeleting", "The home is being deleted: copy out now"),
        "type": "VolumeDeleting",
    }
    write_status(admin, namespace, phase="Running", timeline=timeline, conditions=[running, deleting])
    described = devctl("describe", "mydev").stdout
    assert "BEING DELETED" in described
    assert "copy out now" in described
    assert "kept when stopped" not in described
    assert "being deleted" in devctl("list").stdout
    for words in (["stop", "mydev"], ["restart", "mydev"]):
        refused = devctl(*words, code=2).stderr
        assert "mydev-home" in refused
        assert "add --yes" in refused
    assert server(admin, namespace)["spec"].get("running", True) is True
    assert "is kept" not in devctl("stop", "mydev", "--yes").stderr
    write_status(admin, namespace, phase="Stopped", stopReason="user", timeline=timeline)
    assert "add --yes" in devctl("start", "mydev", code=2).stderr
    release(admin, namespace)
    assert "there is no volume claim mydev-home" in devctl("describe", "mydev").stdout
    assert "is gone" in devctl("start", "mydev", code=2).stderr
    devctl("start", "mydev", "--yes")


def test_create_with_a_kept_home_reports_its_size(devctl: Devctl, admin: Client, namespace: str) -> None:
    home(admin, namespace)
    done = devctl("create", "mydev", "kept-small")
    assert "home 2Gi, kept from before" in done.stderr
    assert "warning" not in done.stderr
    assert server(admin, namespace)["spec"]["persistentHomeSize"] == "2Gi"
    devctl("delete", "mydev", "--yes")
    done = devctl("create", "mydev", "kept-small", "--home-size", "20Gi")
    assert "has 2Gi; it grows to 20Gi if" in done.stderr
    assert "home 2Gi, kept from before" in done.stderr
    assert server(admin, namespace)["spec"]["persistentHomeSize"] == "20Gi"
    described = devctl("describe", "mydev").stdout
    assert "2Gi on volume claim mydev-home" in described
    assert "20Gi" not in described
    devctl("delete", "mydev", "--yes")
    done = devctl("create", "mydev", "kept-small", "--home-size", "1Gi")
    assert "has 2Gi, and can't be made smaller" in done.stderr
    assert server(admin, namespace)["spec"]["persistentHomeSize"] == "2Gi"
    release(admin, namespace)


def test_start_of_a_suspended_users_server_is_refused(
    devctl: Devctl, admin: Client, namespace: str, user_name: str
) -> None:
    devctl("create", "mydev", "kept-small")
    words = f"Stopped because {user_name} is suspended. Ask an administrator."
    write_status(
        admin, namespace, phase="Stopped", stopReason="suspended",
        conditions=[condition("False", "OwnerSuspended", words)],
        timeline=[{"stage": "Accepted", "at": LONG_AGO}, {"stage": "SSHReady", "at": LONG_AGO}],
    )  # fmt: skip
    before = server(admin, namespace)["metadata"]["resourceVersion"]
    for command, code in ((["start", "mydev"], 4), (["start", "mydev", "--wait"], 4), (["restart", "mydev"], 4),
                          (["ssh", "mydev"], 255)):  # fmt: skip
        said = devctl(*command, code=code).stderr
        assert f"the account {user_name} is suspended" in said
        assert "devctl start" not in said
        assert "SSHReady" not in said
    assert server(admin, namespace)["metadata"]["resourceVersion"] == before, "nothing was written"


def test_start_after_expiry_shows_no_old_timeline(devctl: Devctl, admin: Client, namespace: str) -> None:
    devctl("create", "mydev", "kept-small", "--ttl", "1h", "--ephemeral")
    expired = condition("False", "Expired", "Stopped after its time to live of 1h.")
    old = [{"stage": "Accepted", "at": LONG_AGO}, {"stage": "SSHReady", "at": LONG_AGO}]
    write_status(admin, namespace, phase="Stopped", stopReason="expired", timeline=old, conditions=[expired])
    done = devctl("start", "mydev", "--wait", "2s", code=5)
    assert "SSHReady" not in done.stderr
    assert "time to live" not in done.stderr


def test_restart_without_its_flavor_is_refused(devctl: Devctl, admin: Client, namespace: str, user_name: str) -> None:
    flavor = f"kept-{user_name}"
    devctl("create", "mydev", flavor)
    gone = {**condition("True", "FlavorNotFound", f"The flavor {flavor} no longer exists"), "type": "FlavorChanged"}
    admin.delete(API, "DevServerFlavor", flavor)
    write_status(admin, namespace, phase="Running", conditions=[condition("True", "Running", "It is running."), gone])
    assert f"flavor {flavor} no longer exists" in devctl("list").stdout
    assert "no longer exists" in devctl("describe", "mydev").stdout
    said = devctl("restart", "mydev", "--wait", "5s", code=6).stderr
    assert f"its flavor {flavor} no longer exists" in said
    assert "GPU" not in said
    assert "devservers.io/restarted-at" not in server(admin, namespace)["metadata"].get("annotations", {})
