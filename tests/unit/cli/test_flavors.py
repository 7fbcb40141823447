"""Tests `devctl flavors`: the flavors shown, and the columns."""

from __future__ import annotations

from typing import Any

from tests.support.cli.api_server import ApiServer
from tests.support.cli.run import Run

FLAVORS = "/apis/devservers.io/v1/devserverflavors"
QUOTAS = "/api/v1/namespaces/dev-ann/resourcequotas"
NAMESPACE = "/api/v1/namespaces/dev-ann"


def put_flavor(api: ApiServer, name: str, cpu: str, limit: str | None = None, **more: Any) -> None:
    requests = {"cpu": cpu, "memory": "1Gi", **more.pop("requests", {})}
    limits = {"cpu": limit or cpu, "memory": "1Gi"}
    spec = {"resources": {"requests": requests, "limits": limits}, **more.pop("spec", {})}
    api.put(f"{FLAVORS}/{name}", metadata=more, spec=spec)


def rows(text: str) -> dict[str, list[str]]:
    """The table by its first column, without the mark of the default."""
    return {line.split()[0].rstrip("*"): line.split()[1:] for line in text.splitlines()}


def test_flavors_range_shows_request_and_limit(api: ApiServer, devctl: Run) -> None:
    put_flavor(api, "burst", "500m", "2", spec={"pricePerHour": 0.125, "description": "bursts"})
    put_flavor(api, "gpu", "4", requests={"nvidia.com/gpu": "1"})
    found = rows(devctl("flavors").stdout)
    assert found["burst"] == ["500m", "-", "2", "1Gi", "-", "0.12", "bursts"]
    assert found["gpu"][:5] == ["4", "1Gi", "1", "nvidia.com/gpu", "-"]
    assert "FREE" not in found["NAME"], "nobody could fill it"


def test_flavors_wide_shows_the_default_times(api: ApiServer, devctl: Run) -> None:
    put_flavor(api, "gpu", "4", spec={"lifecycle": {"timeToLive": "12h", "idleTimeout": "1h", "maxIdleTimeout": "8h"}})
    found = rows(devctl("flavors", "-o", "wide").stdout)
    assert found["NAME"][4:8] == ["TIME", "IDLE", "SHM", "NODES"]
    assert found["gpu"][4:8] == ["12h", "1h", "1Gi", "any"]
    assert found["cpu-small"][4:6] == ["-", "-"]


def test_flavors_wide_shows_the_image_of_servers_that_name_none(api: ApiServer, devctl: Run) -> None:
    put_flavor(api, "gpu", "4", spec={"image": "registry.example/pytorch:1"})
    lines = {line.split()[0].rstrip("*"): line for line in devctl("flavors", "-o", "wide").stdout.splitlines()}
    assert "registry.example/pytorch:1" in lines["gpu"].split()
    assert "the platform's" in lines["cpu-small"]


def test_flavors_with_quota_counts_remaining_servers(api: ApiServer, devctl: Run) -> None:
    hard, used = {"requests.cpu": "4"}, {"requests.cpu": "3"}
    api.put(f"{QUOTAS}/dev-user", spec={"hard": hard}, status={"hard": hard, "used": used})
    assert rows(devctl("flavors").stdout)["cpu-small"][-3:] == ["1", "of", "4"]


def test_flavors_not_allowed_are_hidden_and_counted(api: ApiServer, devctl: Run) -> None:
    put_flavor(api, "gpu", "4")
    api.put(NAMESPACE, metadata={"annotations": {"devservers.io/allowed-flavors": "cpu-small"}})
    api.put("/apis/devservers.io/v1/devserverusers/ann", spec={"flavors": ["cpu-small"]})
    done = devctl("flavors")
    assert "gpu" not in done.stdout
    assert "1 more that you may not use: `devctl flavors --all`" in done.stderr
    assert "gpu" in devctl("flavors", "--all").stdout


def test_flavors_none_names_who_makes_them(api: ApiServer, devctl: Run) -> None:
    assert "no flavors of AWS machines" in devctl("flavors", "--aws").stderr
    api.objects.clear()
    assert "an administrator makes them" in devctl("flavors").stderr


def test_flavors_of_aws_shows_the_instance_type_and_its_gpus(api: ApiServer, devctl: Run) -> None:
    marks = {
        "devservers.io/instance-type": "g6.xlarge",
        "devservers.io/gpu-memory": "24Gi",
        "devservers.io/gpu-model": "L4",
        "devservers.io/capacity": "ON_DEMAND",
    }
    put_flavor(
        api, "gpu-l4", "3", requests={"nvidia.com/gpu": "1"}, annotations=marks,
        spec={"nodeSelector": {"devservers.io/pool": "gpu-l4"}},
    )  # fmt: skip
    text = devctl("flavors", "--aws").stdout
    assert "cpu-small" not in text
    assert "1 x L4" in text
    found = rows(text)["gpu-l4"]
    assert "g6.xlarge" in found
    assert "24Gi" in found
    assert "on-demand" in found
