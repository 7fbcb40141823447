"""Tests `devctl create`: the object that it writes, and requests that it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.support.cli.api_server import ApiServer
from tests.support.cli.run import Run

SERVERS = "/apis/devservers.io/v1/namespaces/dev-ann/devservers"
CLAIMS = "/api/v1/namespaces/dev-ann/persistentvolumeclaims"


def put_claim(api: ApiServer, name: str, size: str = "10Gi", **metadata: Any) -> None:
    api.put(f"{CLAIMS}/{name}", metadata=metadata, spec={"resources": {"requests": {"storage": size}}})


def made(api: ApiServer) -> dict[str, Any]:
    """The spec of the one server that was created."""
    ((method, path, body),) = api.writes
    assert (method, path) == ("POST", SERVERS)
    assert body is not None
    return dict(body["spec"])


def test_create_with_options_writes_them_and_omits_defaults(api: ApiServer, devctl: Run) -> None:
    put_claim(api, "data")
    put_claim(api, "team")
    done = devctl(
        "create", "mydev", "cpu-small", "--image", "debian:13", "--home-size", "20Gi", "-v", "data:/data:ro",
        "--shared-volume", "team", "-e", "A=1", "--ttl", "2h30m", "--no-ssh", "--", "sleep", "inf",
    )  # fmt: skip
    assert made(api) == {
        "flavor": "cpu-small",
        "image": "debian:13",
        "command": ["sleep", "inf"],
        "env": [{"name": "A", "value": "1"}],
        "persistentHomeSize": "20Gi",
        "sharedVolumeClaimName": "team",
        "volumes": [{"claimName": "data", "mountPath": "/data", "readOnly": True}],
        "enableSSH": False,
        "lifecycle": {"timeToLive": "2h30m"},
    }
    assert api.queries == [{"fieldManager": "devctl", "fieldValidation": "Strict"}]
    assert done.stdout == ""
    assert "devserver/mydev created in dev-ann (cpu-small, home 20Gi, kept)" in done.stderr


@pytest.mark.parametrize(
    ("words", "spec", "says"),
    [
        ([], {"persistentHomeSize": "10Gi"}, "home 10Gi, kept"),
        (["--ephemeral"], {}, "no persistent home"),
        (["--home-size", "none"], {}, "no persistent home"),
        (
            ["-v", "data:/home/dev"],
            {"volumes": [{"claimName": "data", "mountPath": "/home/dev"}]},
            "home on your volume",
        ),
    ],
)
def test_create_home_is_described(
    api: ApiServer, devctl: Run, words: list[str], spec: dict[str, Any], says: str
) -> None:
    put_claim(api, "data")
    assert f"(cpu-small, {says})" in devctl("create", "mydev", *words).stderr
    assert made(api) == {"flavor": "cpu-small", **spec}


@pytest.mark.parametrize(
    ("size", "asked", "warned"),
    [
        ([], "20Gi", None),
        (["--home-size", "20Gi"], "20Gi", None),
        (["--home-size", "5Gi"], "20Gi", "can't be made smaller"),
        (["--home-size", "30Gi"], "30Gi", "it grows to 30Gi if its storage class can"),
    ],
)
def test_create_kept_home_is_used_again(
    api: ApiServer, devctl: Run, size: list[str], asked: str, warned: str | None
) -> None:
    put_claim(api, "mydev-home", "20Gi")
    done = devctl("create", "mydev", *size)
    assert made(api)["persistentHomeSize"] == asked
    assert "home 20Gi, kept from before" in done.stderr
    assert (warned in done.stderr) if warned else ("warning" not in done.stderr)


def test_create_home_being_deleted_requests_the_default_size(api: ApiServer, devctl: Run) -> None:
    put_claim(api, "mydev-home", "20Gi", deletionTimestamp="2026-01-02T00:00:00Z")
    assert "home 10Gi, kept)" in devctl("create", "mydev").stderr
    assert made(api)["persistentHomeSize"] == "10Gi"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "the server has no name"),
        (["one", "cpu-small", "--name", "two"], 2, "two names are given: one and --name two"),
        (["one", "a", "--flavor", "b"], 2, "two flavors are given: a and --flavor b"),
        (["One"], 6, "One"),
        (["one", "--ephemeral", "--home-size", "5Gi"], 2, "--ephemeral and --home-size contradict each other"),
        (["one", "-v", "data:/home/dev", "--home-size", "5Gi"], 6, "/home/dev is used twice"),
        (["one", "--ttl", "soon"], 6, "--ttl"),
        (["one", "--wait=soon"], 6, "--wait"),
        (["one", "-o", "xml"], 2, "-o xml is unknown"),
        (["one", "cpu-smal"], 6, "did you mean cpu-small?"),
        (["one", "-v", "dta:/data"], 6, "did you mean data?"),
        (["one", "--shared-volume", "none-such"], 6, "known claims: data"),
    ],
)
def test_create_invalid_request_is_refused_before_writing(
    api: ApiServer, devctl: Run, words: list[str], code: int, says: str
) -> None:
    put_claim(api, "data")
    assert says in devctl("create", *words, code=code).stderr
    assert api.writes == []


def test_create_name_as_option_takes_the_first_word_as_flavor(api: ApiServer, devctl: Run) -> None:
    devctl("create", "--name", "mydev", "cpu-small")
    assert made(api)["flavor"] == "cpu-small"
    assert f"{SERVERS}/mydev" in api.objects


def test_create_with_allow_missing_warns_and_writes(api: ApiServer, devctl: Run) -> None:
    done = devctl("create", "mydev", "later", "-v", "absent:/data", "--allow-missing")
    assert "there is no flavor later yet" in done.stderr
    assert "there is no volume claim absent yet" in done.stderr
    assert made(api)["flavor"] == "later"


@pytest.mark.parametrize(("form", "read"), [(None, yaml.safe_load), ("yaml", yaml.safe_load), ("json", json.loads)])
def test_create_dry_run_prints_the_object_and_writes_nothing(
    api: ApiServer, devctl: Run, form: str | None, read: Any
) -> None:
    done = devctl("create", "mydev", "--dry-run", *(["-o", form] if form else []))
    shown = read(done.stdout)
    assert shown["kind"] == "DevServer"
    assert "managedFields" not in shown["metadata"]
    assert "nothing was changed" in done.stderr
    assert api.queries[0]["dryRun"] == "All"
    assert f"{SERVERS}/mydev" not in api.objects


def test_create_uncounted_quota_is_retried(api: ApiServer, devctl: Run) -> None:
    api.refuse("POST", SERVERS, (403, "forbidden: status unknown for quota: dev-user"), (201, ""))
    devctl("create", "mydev")
    assert [method for method, _, _ in api.writes] == ["POST", "POST"]
    assert f"{SERVERS}/mydev" in api.objects


def test_create_other_refusal_is_not_retried(api: ApiServer, devctl: Run) -> None:
    api.refuse("POST", SERVERS, (403, "exceeded quota: dev-user"), (201, ""))
    assert "this would exceed your quota" in devctl("create", "mydev", code=6).stderr
    assert [method for method, _, _ in api.writes] == ["POST"]


def test_create_existing_server_changes_nothing(api: ApiServer, devctl: Run) -> None:
    there = api.put(f"{SERVERS}/mydev", spec={"flavor": "other"})
    assert "mydev exists already" in devctl("create", "mydev", code=1).stderr
    assert api.objects[f"{SERVERS}/mydev"] == there


@pytest.mark.parametrize(("limit", "code"), [("10Gi", 0), ("9Gi", 6)])
def test_create_home_above_volume_limit_is_refused(api: ApiServer, devctl: Run, limit: str, code: int) -> None:
    item = {"type": "PersistentVolumeClaim", "max": {"storage": limit}}
    api.put("/api/v1/namespaces/dev-ann/limitranges/dev-user", spec={"limits": [item]})
    done = devctl("create", "mydev", code=code)
    assert ("a volume may have 9Gi at most" in done.stderr) is (code == 6)
    assert bool(api.writes) is (code == 0)


@pytest.mark.parametrize(
    ("words", "lifecycle", "says"),
    [
        (["--time", "2h30m"], {"timeToLive": "2h30m"}, "it stops 2h30m after its start"),
        (
            ["--time", "until 2099-12-24T18:00:00+01:00"],
            {"expirationTime": "2099-12-24T17:00:00Z"},
            "it stops at 2099-12-24 ",
        ),
        (["--idle-timeout", "1h"], {"idleTimeout": "1h"}, "when nothing happened in it for 1h"),
        (["--idle-timeout", "none"], {"autoShutdown": False}, "does not stop when nothing happens"),
        (["--grace", "5m"], {"gracePeriod": "5m"}, "created"),
    ],
)
def test_create_time_settings_are_written_and_said(
    api: ApiServer, devctl: Run, words: list[str], lifecycle: dict[str, Any], says: str
) -> None:
    done = devctl("create", "mydev", *words)
    assert made(api)["lifecycle"] == lifecycle
    assert says in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--time", "until 2020-01-01T00:00:00Z"], "is in the past"),
        (["--time", "0s"], "neither a duration nor a time"),
        (["--idle-timeout", "soon"], "--idle-timeout 'soon' is not a duration"),
        (["--grace", "11m"], "at most 10m is allowed"),
    ],
)
def test_create_time_settings_that_cannot_be_are_refused(
    api: ApiServer, devctl: Run, words: list[str], says: str
) -> None:
    assert says in devctl("create", "mydev", *words, code=6).stderr
    assert api.writes == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--time", "9h"], "a time limit of 9h00m is too long: at most 8h00m is allowed"),
        (["--time", "until 2099-12-24T18:00:00Z"], "at most 8h00m is allowed"),
        (["--idle-timeout", "3h"], "take --idle-timeout 2h or less"),
        (["--idle-timeout", "none"], "an idle timeout is in force here: at most 2h00m is allowed"),
    ],
)
def test_create_time_settings_over_a_limit_are_refused_with_the_number(
    api: ApiServer, devctl: Run, words: list[str], says: str
) -> None:
    flavor = {"resources": {}, "lifecycle": {"maxTimeToLive": "1d", "maxIdleTimeout": "2h"}}
    api.put("/apis/devservers.io/v1/devserverflavors/cpu-small", spec=flavor)
    api.put("/apis/devservers.io/v1/devserverusers/ann", spec={"lifecycle": {"maxTimeToLive": "8h"}})
    assert says in devctl("create", "mydev", *words, code=6).stderr
    assert api.writes == []
    devctl("create", "mydev", "--time", "8h", "--idle-timeout", "2h")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            [],
            [
                "it stops 12h after its start (the flavor's default); each `devctl start` begins the time anew",
                "it stops when nothing happened in it for 1h (the flavor's default)",
            ],
        ),
        (["--time", "2h"], ["it stops 2h after its start; each `devctl start` begins the time anew"]),
        (
            ["--time", "until 2099-12-24T18:00:00Z"],
            ["it stops at ", "it stops 12h after its start at the latest (the flavor's default)"],
        ),
        (["--idle-timeout", "30m"], ["it stops when nothing happened in it for 30m\n"]),
    ],
)
def test_create_says_the_times_in_force_and_where_they_come_from(
    api: ApiServer, devctl: Run, words: list[str], says: list[str]
) -> None:
    flavor = {"resources": {}, "lifecycle": {"timeToLive": "12h", "idleTimeout": "1h"}}
    api.put("/apis/devservers.io/v1/devserverflavors/cpu-small", spec=flavor)
    stderr = devctl("create", "mydev", *words).stderr
    for part in says:
        assert part in stderr


def test_create_says_a_limit_that_counts_instead_of_a_default(api: ApiServer, devctl: Run) -> None:
    flavor = {"resources": {}, "lifecycle": {"timeToLive": "12h", "maxIdleTimeout": "4h"}}
    api.put("/apis/devservers.io/v1/devserverflavors/cpu-small", spec=flavor)
    api.put("/apis/devservers.io/v1/devserverusers/ann", spec={"lifecycle": {"maxTimeToLive": "8h"}})
    stderr = devctl("create", "mydev").stderr
    assert "it stops 8h after its start (the user's maxTimeToLive)" in stderr
    assert "it stops when nothing happened in it for 4h (the flavor's maxIdleTimeout)" in stderr
