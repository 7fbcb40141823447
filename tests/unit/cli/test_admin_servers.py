"""Tests `devctl admin holds` and `devctl admin cleanup`."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import ANY

import pytest

from tests.support.cli.api_server import ApiServer
from tests.support.cli.run import Run

ALL = "/apis/devservers.io/v1/devservers"
NOW = datetime.now(UTC).replace(microsecond=0)


def ago(**passed: float) -> str:
    return (NOW - timedelta(**passed)).strftime("%Y-%m-%dT%H:%M:%SZ")


def server(namespace: str, name: str, *, created: str, **more: Any) -> dict[str, Any]:
    status = {"phase": "Running", **(more.pop("status", None) or {})}
    annotations = more.pop("annotations", {})
    spec = {"flavor": "cpu-small", "persistentHomeSize": "10Gi", **more}
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": created, "annotations": annotations}
    return {"metadata": metadata | {"uid": f"{name}-uid", "resourceVersion": "1"}, "spec": spec, "status": status}


def put_all(api: ApiServer, *servers: dict[str, Any]) -> None:
    """Each at its own path, and all of them in the list over all namespaces."""
    for one in servers:
        metadata = one["metadata"]
        api.put(f"/apis/devservers.io/v1/namespaces/{metadata['namespace']}/devservers/{metadata['name']}", **one)
    api.objects[ALL] = {"items": list(servers)}


def held(until: str) -> dict[str, Any]:
    return {"hold": {"until": until, "reason": "nightly train\x07ing"}}


def test_holds_lists_those_in_force_longest_first(api: ApiServer, devctl: Run) -> None:
    put_all(
        api,
        server("dev-ann", "one", created=ago(days=2), lifecycle=held(ago(hours=-8.4))),
        server("dev-bob", "two", created=ago(days=2), lifecycle=held(ago(days=-3.02))),
        server("dev-bob", "over", created=ago(days=2), lifecycle=held(ago(hours=1))),
        server("dev-bob", "none", created=ago(days=2)),
        server("dev-bob", "stopped", created=ago(days=2), lifecycle=held(ago(days=-4)), status={"phase": "Stopped"}),
    )
    lines = devctl("admin", "holds").stdout.splitlines()
    assert lines[0].split() == ["NAMESPACE", "NAME", "PHASE", "LEFT", "REASON"]
    assert [line.split()[:4] for line in lines[1:]] == [
        ["dev-bob", "two", "Running", "3d0h"], ["dev-ann", "one", "Running", ANY],
    ]  # fmt: skip
    assert re.fullmatch("8h[0-5][0-9]m", lines[2].split()[3])
    assert "nightly train ing" in lines[1]
    names = [each["metadata"]["name"] for each in json.loads(devctl("admin", "holds", "-o", "json").stdout)["items"]]
    assert names == ["two", "one"]


def test_holds_none_says_so(api: ApiServer, devctl: Run) -> None:
    put_all(api)
    assert devctl("admin", "holds").stderr == "no server is held\n"


def unused_with(condition: str) -> dict[str, Any]:
    """The status of a server whose last activity that was measured is long ago, with a condition."""
    conditions = [{"type": condition, "status": "True", "message": "gpu can't be read"}]
    return {"lastActivity": {"at": ago(days=40), "source": "cpu"}, "conditions": conditions}


def unused(api: ApiServer) -> None:
    """Servers of every kind: each one's name says what is to come of it."""
    old = ago(days=100)
    put_all(
        api,
        server("dev-ann", "stopme", created=old, status={"lastActivity": {"at": ago(days=40), "source": "ssh"}}),
        server("dev-ann", "deleteme", created=old, running=False, status={"phase": "Stopped"}),
        server("dev-bob", "held", created=old, lifecycle=held(ago(days=-1))),
        server("dev-bob", "ephemeral", created=old, persistentHomeSize=None),
        server("dev-bob", "unmeasured", created=old),
        server("dev-bob", "unknown", created=old, status=unused_with("ActivityUnknown")),
        server("dev-bob", "agentless", created=old, status=unused_with("AgentMissing")),
        server("dev-bob", "active", created=old, status={"lastActivity": {"at": ago(days=2), "source": "cpu"}}),
        server("dev-bob", "started", created=old, annotations={"devservers.io/started-at": ago(days=1)}),
        server("dev-bob", "fresh", created=ago(days=29)),
        server("dev-bob", "juststopped", created=old, status={"phase": "Stopped", "lastStop": {"at": ago(days=3)}}),
    )


def test_cleanup_without_yes_lists_and_changes_nothing(api: ApiServer, devctl: Run) -> None:
    unused(api)
    done = devctl("admin", "cleanup", "--unused", "30d")
    lines = [line.split(maxsplit=4) for line in done.stdout.splitlines()[1:]]
    assert {line[1]: line[4] for line in lines} == {
        "deleteme": "delete",
        "held": "keep (held)",
        "ephemeral": "keep (its home is not persistent)",
        "unmeasured": "keep (its activity is not known)",
        "unknown": "keep (its activity is not known)",
        "agentless": "keep (its activity is not known)",
        "stopme": "stop",
    }
    assert "nothing was changed" in done.stderr
    assert api.writes == []


def test_cleanup_with_yes_stops_and_deletes_what_was_listed(api: ApiServer, devctl: Run) -> None:
    unused(api)
    done = devctl("admin", "cleanup", "--unused", "30d", "--yes")
    assert "2 of 2 servers are cleaned up; all homes are kept" in done.stderr
    base = "/apis/devservers.io/v1/namespaces/dev-ann/devservers"
    counted = {"uid": "deleteme-uid", "resourceVersion": "1"}
    assert sorted(api.writes, key=lambda write: write[0]) == [
        ("DELETE", f"{base}/deleteme", {"propagationPolicy": "Background", "preconditions": counted}),
        (
            "PATCH",
            f"{base}/stopme",
            {"metadata": {"uid": "stopme-uid", "resourceVersion": "1"}, "spec": {"running": False}},
        ),
    ]


def test_cleanup_server_used_meanwhile_is_left_alone(api: ApiServer, devctl: Run) -> None:
    unused(api)
    for name in ("stopme", "deleteme"):
        path = f"/apis/devservers.io/v1/namespaces/dev-ann/devservers/{name}"
        api.objects[path]["metadata"]["resourceVersion"] = "2"
    done = devctl("admin", "cleanup", "--unused", "30d", "--yes", code=1)
    assert done.stderr.count("changed meanwhile and is left as it is") == 2
    assert "0 of 2 servers are cleaned up" in done.stderr
    assert "/apis/devservers.io/v1/namespaces/dev-ann/devservers/deleteme" in api.objects


@pytest.mark.parametrize(("words", "code"), [(["--unused", "soon"], 6), ([], 2), (["--unused", "0d"], 6)])
def test_cleanup_without_a_duration_is_refused(api: ApiServer, devctl: Run, words: list[str], code: int) -> None:
    unused(api)
    devctl("admin", "cleanup", *words, "--yes", code=code)
    assert api.writes == []


def test_cleanup_nothing_unused_says_so(api: ApiServer, devctl: Run) -> None:
    put_all(api, server("dev-ann", "mydev", created=ago(days=1)))
    assert "no server has been unused for 30d" in devctl("admin", "cleanup", "--unused", "30d").stderr
