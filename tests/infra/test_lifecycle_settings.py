"""Time limits, idleness and working hours in a stack: refusals, and what flavors get of them."""

from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from devservers.api.fields import unavailable
from devservers.api.flavor import DevServerFlavor
from devservers.api.shipped_flavors import SHIPPED
from infra.aws.cluster.pool_layout import pools_of
from infra.platform.flavors import of_stack
from infra.platform.operator import environment
from infra.settings import availability
from infra.settings.loading import load
from infra.settings.platform.lifecycle import FlavorDefaults, with_defaults
from infra.settings.problems import SettingsError
from infra.settings.stack import Settings
from tests.support.infra.aws_graph import DEV
from tests.support.infra.local_settings import ANN, raw

CPU_POOL = {"name": "cpu", "family": "m7i", "size": "2xlarge", "max": 4}
GPU_POOL = {"name": "l40s", "family": "g6e", "size": "2xlarge", "max": 2}
BERLIN = {"stopAt": "20:00", "timeZone": "Europe/Berlin"}


def aws_raw(pool: dict[str, Any] | None = None, cpu: dict[str, Any] | None = None, **values: Any) -> dict[str, str]:
    pools = [CPU_POOL | (cpu or {}), GPU_POOL | (pool or {})]
    whole = DEV | {"cluster": "aws", "pools": pools, "users": []} | values
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in whole.items()}


def problems(config: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        load("dev" if config["cluster"] == "aws" else "local", config, {})
    return str(caught.value)


def made(settings: Settings) -> dict[str, dict[str, Any]]:
    """The specs of the flavors that a stack makes, by name."""
    pools = pools_of(settings.aws) if settings.aws else ()
    offered = [*SHIPPED, *(flavor for pool in pools if (flavor := pool.flavor()))]
    return {flavor.name: of_stack(flavor, settings).manifest()["spec"] for flavor in offered}


def gpu(**pool: Any) -> dict[str, Any]:
    """The spec of the GPU flavor on AWS."""
    return made(load("dev", aws_raw(pool), {}))["l40s"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"lifecycle": {"timeToLive": "soon"}}, "devservers:lifecycle.timeToLive = soon: "),
        ({"lifecycle": {"timeToLive": "0m"}}, "devservers:lifecycle.timeToLive = 0m: "),
        ({"lifecycle": {"ttl": "1h"}}, "devservers:lifecycle.ttl = 1h: no such key"),
        ({"lifecycle": "1h"}, "devservers:lifecycle = 1h: "),
        (
            {"lifecycle": {"timeToLive": "2d", "maxTimeToLive": "12h"}},
            "devservers:lifecycle.timeToLive = 2d: longer than maxTimeToLive, which is 12h, so no server would get it\n"
            "  set it to 12h or less, or raise maxTimeToLive",
        ),
        ({"lifecycle": {"idleTimeout": "9h", "maxIdleTimeout": "8h"}}, "longer than maxIdleTimeout, which is 8h"),
        ({"idle": {"gpuPercent": 101}}, "devservers:idle.gpuPercent = 101: "),
        ({"idle": {"minutes": 5}}, "devservers:idle.minutes = 5: no such key"),
        ({"workingHours": {"stopAt": "20:00"}}, "devservers:workingHours.timeZone = (unset): not set"),
        ({"workingHours": BERLIN | {"stopAt": "8pm"}}, "devservers:workingHours.stopAt = 8pm: not a time of day"),
        ({"workingHours": BERLIN | {"timeZone": "Europe/Berln"}}, "no such time zone\n  use Europe/Berlin"),
        (
            {"workingHours": BERLIN | {"days": ["Monday"]}},
            "days[0] = Monday: not a day of the week\n  use some of Mon, ",
        ),
        (
            {"users": [ANN | {"workingHours": BERLIN | {"timeZone": "Mars/One"}}]},
            "users[0].workingHours.timeZone = Mars",
        ),
        ({"users": [ANN | {"lifecycle": {"maxTimeToLive": "x"}}]}, "users[0].lifecycle.maxTimeToLive = x: "),
    ],
)
def test_bad_lifecycle_settings_are_refused(values: dict[str, Any], expected: str) -> None:
    assert expected in problems(raw(**values))


def test_pool_without_gpus_has_no_lifecycle_of_its_own() -> None:
    said = problems(aws_raw(cpu={"lifecycle": {"timeToLive": "8h"}}))
    assert "devservers:pools[0].lifecycle = set: a pool without GPUs has no flavor of its own" in said
    assert "devservers:lifecycle holds for the shipped flavors" in said


def test_pool_default_above_the_stacks_limit_is_refused() -> None:
    said = problems(aws_raw({"lifecycle": {"timeToLive": "2d"}}, lifecycle={"maxTimeToLive": "1d"}))
    assert "devservers:pools[1].lifecycle.timeToLive = 2d: longer than maxTimeToLive, which is 1d" in said


def test_field_that_the_api_refuses_is_refused_with_its_sentence() -> None:
    class Inner(BaseModel):
        works: str | None = None
        later: Annotated[str, unavailable("later")] | None = None

    class Outer(BaseModel):
        inner: Inner = Inner()
        plain: Annotated[float, unavailable("plain")] | None = None

    found = availability.problems_of("users[0]", Outer(inner=Inner(works="x", later="y"), plain=0))
    assert [str(each) for each in found] == [
        "devservers:users[0].inner.later = y: later is not available yet; leave it out\n  remove it",
        "devservers:users[0].plain = 0: plain is not available yet; leave it out\n  remove it",
    ]
    assert list(availability.problems_of("", Outer())) == []


@pytest.mark.parametrize(
    ("group", "value"),
    [
        ("lifecycle", {"timeToLive": "12h", "idleTimeout": "1h", "maxIdleTimeout": "8h", "maxHold": "1d"}),
        ("idle", {"cpuMillicores": 50, "gpuPercent": 5}),
        ("workingHours", BERLIN),
    ],
)
def test_stack_accepts_every_group(group: str, value: Any) -> None:
    assert load("local", raw(**{group: value}), {})


def test_flavor_without_settings_stays_as_it_is() -> None:
    settings = load("local", raw(lifecycle={}, idle={}, workingHours={}), {})
    assert made(settings)["cpu-small"] == SHIPPED[0].manifest()["spec"]


def test_time_zone_of_the_stack_reaches_the_operator() -> None:
    assert environment(load("local", raw(timeZone="Europe/Berlin"), {}))["DEVSERVERS_TIME_ZONE"] == "Europe/Berlin"
    assert "DEVSERVERS_TIME_ZONE" not in environment(load("local", raw(), {}))


def test_stack_wide_defaults_reach_every_flavor() -> None:
    lifecycle = {"timeToLive": "12h", "maxTimeToLive": "1d"}
    specs = made(load("local", raw(lifecycle=lifecycle, idle={"cpuMillicores": 80}, workingHours=BERLIN), {}))
    assert len(specs) == len(SHIPPED)
    for spec in specs.values():
        assert spec["lifecycle"] == lifecycle
        assert spec["idle"] == {"cpuMillicores": 80}
        assert spec["workingHours"] == BERLIN


def test_pool_settings_go_over_the_stacks_key_by_key() -> None:
    stack = {"timeToLive": "12h", "maxTimeToLive": "2d", "maxExtension": "4h"}
    settings = load("dev", aws_raw({"lifecycle": {"timeToLive": "1d", "maxExtension": None}}, lifecycle=stack), {})
    specs = made(settings)
    assert specs["cpu-small"]["lifecycle"] == stack
    mine = {key: value for key, value in specs["l40s"]["lifecycle"].items() if "dle" not in key}
    assert mine == {"timeToLive": "1d", "maxTimeToLive": "2d"}


class TestGpuFlavorOnAws:
    """Nothing forgotten burns money from the first day on."""

    def test_gpu_flavor_stops_after_an_idle_hour(self) -> None:
        specs = made(load("dev", aws_raw(), {}))
        assert specs["l40s"]["lifecycle"] == {"idleTimeout": "1h", "maxIdleTimeout": "8h"}
        assert "lifecycle" not in specs["cpu-small"]

    def test_gpu_flavor_takes_the_stacks_timeout_instead(self) -> None:
        found = made(load("dev", aws_raw(lifecycle={"idleTimeout": "2h"}), {}))
        assert found["l40s"]["lifecycle"] == {"idleTimeout": "2h", "maxIdleTimeout": "8h"}
        assert found["cpu-small"]["lifecycle"] == {"idleTimeout": "2h"}

    def test_gpu_pool_takes_the_timeout_away(self) -> None:
        assert "lifecycle" not in gpu(lifecycle={"idleTimeout": None, "maxIdleTimeout": None})

    def test_gpu_pool_takes_the_stacks_working_hours_away(self) -> None:
        settings = load("dev", aws_raw({"workingHours": None}, workingHours=BERLIN), {})
        assert "workingHours" not in made(settings)["l40s"]
        assert made(settings)["cpu-small"]["workingHours"] == BERLIN


def test_gpu_flavor_of_a_local_cluster_has_no_idle_timeout() -> None:
    manifest = SHIPPED[0].manifest()
    amounts = {"requests": {"nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "1"}}
    local = DevServerFlavor.parse(manifest | {"spec": {"resources": amounts}})
    assert "lifecycle" not in of_stack(local, load("local", raw(), {})).manifest()["spec"]


def test_working_hours_of_a_later_layer_replace_the_earlier() -> None:
    early = FlavorDefaults.model_validate({"workingHours": BERLIN})
    late = FlavorDefaults.model_validate({"workingHours": BERLIN | {"stopAt": "22:00", "days": ["Fri"]}})
    spec = with_defaults(SHIPPED[0], [early, late]).manifest()["spec"]
    assert spec["workingHours"] == {"stopAt": "22:00", "timeZone": "Europe/Berlin", "days": ["Fri"]}
