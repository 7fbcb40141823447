"""Capacity of the smallest supported machine, 2 CPUs and 8 GiB."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from devservers_core.quantity import parse_quantity
from tests.support.node import queueing
from tests.support.node.person import Person, Platform

pytestmark = pytest.mark.timeout(500)

CPUS, MEMORY = Decimal(2), Decimal(8 * 2**30 - 500 * 2**20)
"""What such a machine has to give: of 8 GiB firmware, kernel and the kubelet's reserve keep some."""
SIZES = {**{f"small{number}": "cpu-small" for number in range(1, 7)}, "medium": "cpu-medium"}
FILLER = "filler"


@pytest.fixture
def small(platform: Platform) -> Iterator[Platform]:
    """The platform where everything beyond that is somebody else's: nothing of it can be given out."""
    (node,) = platform.get("nodes")["items"]
    has = {name: parse_quantity(str(node["status"]["allocatable"][name])) for name in ("cpu", "memory")}
    beyond = {"cpu": has["cpu"] - CPUS, "memory": has["memory"] - MEMORY}
    asked = {name: f"{int(amount * 1000)}m" for name, amount in beyond.items() if amount > 0}
    if asked:
        queueing.apply(platform, _filler(queueing.default_image(platform), asked))
        platform.cluster.kubectl("wait", "pod", FILLER, "-n", "default", "--for=condition=Ready", "--timeout=60s")
        platform.run("up", "--no-demo")  # which measures what there is to give
    yield platform
    if asked:
        platform.cluster.kubectl("delete", "pod", FILLER, "-n", "default", "--grace-period=0", "--force")
        platform.run("up", "--no-demo")


def test_two_cpus_and_8_gib_run_six_small_servers_and_a_medium_one(small: Platform, ann: Person) -> None:
    try:
        with ThreadPoolExecutor(len(SIZES)) as at_once:
            made = list(at_once.map(lambda each: _create(ann, *each), SIZES.items()))
        assert [each for each in made if each] == []
        phases = {name: ann.server(name)["status"]["phase"] for name in SIZES}
        assert set(phases.values()) == {"Running"}, phases
        assert ann.ssh("small6", "echo hello").stdout == "hello\n"
        shown = ann.devctl("status").stdout
        assert "cpu 4 times over" in shown
    finally:
        for name in SIZES:
            ann.devctl("delete", name, "--yes", check=False)


def _create(ann: Person, name: str, flavor: str) -> str:
    """What is said of a server that doesn't run after four minutes; nothing of one that does."""
    done = ann.devctl("create", name, flavor, "--ephemeral", "--wait", "4m", check=False, seconds=300)
    return done.stderr if done.returncode else ""


def _filler(image: str, asked: dict[str, str]) -> dict[str, Any]:
    """A pod that is nobody's of the platform's, and asks for much without using any of it."""
    container: dict[str, Any] = {"name": "filler", "image": image, "imagePullPolicy": "IfNotPresent"}
    container |= {"command": ["sleep", "infinity"], "resources": {"requests": asked}}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": FILLER, "namespace": "default"},
        "spec": spec,
    }
