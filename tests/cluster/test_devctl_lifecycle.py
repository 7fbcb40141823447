"""devctl's time limits, extensions and updates against a real API server; the tests play the operator."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster.client import Client
from tests.support.cluster.devctl import Devctl, condition, server, write_status
from tests.support.cluster.harness import ApiServer
from tests.support.wait import eventually

pytestmark = pytest.mark.usefixtures("devctl_flavors")


@pytest.fixture
def devctl(cluster: ApiServer, namespace: str, user_name: str, tmp_path: Path) -> Devctl:
    return Devctl(tmp_path, cluster.kubeconfig_for("test-admin", ("system:masters",)), user_name)


def text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def running(admin: Client, namespace: str, **status: Any) -> None:
    write_status(admin, namespace, phase="Running", conditions=[condition("True", "Running", "")], **status)


def test_create_and_update_time_settings_are_what_the_api_takes(devctl: Devctl, admin: Client, namespace: str) -> None:
    devctl("create", "mydev", "devctl-small", "--time", "until 2099-12-24T18:00:00+01:00", "--grace", "5m")
    assert server(admin, namespace)["spec"]["lifecycle"] == {
        "expirationTime": "2099-12-24T17:00:00Z", "gracePeriod": "5m", "onExpiry": "stop",
    }  # fmt: skip
    devctl("stop", "mydev")
    write_status(admin, namespace, phase="Stopped", stopReason="user")
    devctl("update", "mydev", "--time", "8h", "--flavor", "devctl-huge", "-e", "A=1", "--image", "debian:13")
    spec = server(admin, namespace)["spec"]
    assert spec["lifecycle"] == {"timeToLive": "8h", "gracePeriod": "5m", "onExpiry": "stop"}
    assert (spec["flavor"], spec["image"], spec["env"]) == ("devctl-huge", "debian:13", [{"name": "A", "value": "1"}])


def test_extend_waits_for_the_operator_and_start_clears_it(devctl: Devctl, admin: Client, namespace: str) -> None:
    devctl("create", "mydev", "devctl-small", "--time", "2h")
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    running(admin, namespace, expiresAt=text(ends))
    with devctl.start("extend", "mydev", "1h") as extending:

        def extended() -> object:
            return server(admin, namespace)["spec"]["lifecycle"].get("extendUntil")

        assert eventually(extended, "extendUntil") == text(ends + timedelta(hours=1))
        assert extending.poll() is None, "the end counts once the operator has it"
        running(admin, namespace, expiresAt=text(ends + timedelta(hours=1)))
        _, err = extending.communicate(timeout=30)
    assert extending.returncode == 0, err
    assert f"mydev now stops at {ends + timedelta(hours=1):%Y-%m-%d %H:%M}" in err
    devctl("stop", "mydev")
    write_status(admin, namespace, phase="Stopped", stopReason="user")
    devctl("start", "mydev")
    assert "extendUntil" not in server(admin, namespace)["spec"]["lifecycle"]


def test_extend_by_two_at_once_loses_nothing(devctl: Devctl, admin: Client, namespace: str) -> None:
    """Whoever writes second is told, or counts from the first one's end: never is one hour lost."""
    devctl("create", "mydev", "devctl-small", "--time", "2h")
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    running(admin, namespace, expiresAt=text(ends))
    with devctl.start("extend", "mydev", "1h") as one, devctl.start("extend", "mydev", "1h") as other:

        def play_operator() -> bool:
            end = server(admin, namespace)["spec"]["lifecycle"].get("extendUntil")
            if end:
                running(admin, namespace, expiresAt=end)
            return one.poll() is not None and other.poll() is not None

        eventually(play_operator, "both to end")
        results = [(each.returncode, each.communicate(timeout=30)[1]) for each in (one, other)]
    end = server(admin, namespace)["spec"]["lifecycle"]["extendUntil"]
    done = [code for code, _ in results].count(0)
    assert done >= 1, results
    assert end == text(ends + timedelta(hours=done)), results
    assert all(code == 0 or "somebody else changed lifecycle.extendUntil" in err for code, err in results), results
