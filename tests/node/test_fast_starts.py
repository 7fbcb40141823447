"""Fast starts on a real node: a server takes a placeholder's room, and images are pulled without running."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from devservers.api.flavor import DevServerFlavor
from devservers_core.names import DEFAULT_FLAVOR, LABEL_HEADROOM, LABEL_PRE_PULL, OPERATOR, SYSTEM_NAMESPACE
from devservers_core.quantity import parse_quantity
from infra.local.capacity import Capacity, pools
from infra.platform.fast_starts import headroom, pre_pull
from infra.platform.pools import Pool
from infra.settings.stack import Images, Settings
from tests.support.node import queueing
from tests.support.node.images import loaded
from tests.support.node.person import Person, Platform

FILLER = "headroom-filler"


@pytest.fixture
def placeholder(platform: Platform) -> Iterator[str]:
    """A placeholder that runs on a node with no room for another server beside it; gives its pod's uid."""
    flavor = DevServerFlavor.parse(platform.get("devserverflavor", DEFAULT_FLAVOR))
    image = queueing.default_image(platform)
    made = headroom.deployment(_local(_images(platform)), flavor, 1, image, [])
    queueing.apply(platform, headroom.priority_class(), made)
    name = made["metadata"]["name"]
    kubectl = platform.cluster.kubectl
    try:
        kubectl("rollout", "status", f"deployment/{name}", "-n", SYSTEM_NAMESPACE, "--timeout=60s")
        left = _free_cpu(platform)
        server = parse_quantity(flavor.spec.resources.requests["cpu"])
        if left >= server:
            queueing.apply(platform, _filler(image, left - server / 2))
            kubectl("wait", "pod", FILLER, "-n", "default", "--for=condition=Ready", "--timeout=60s")
        assert _free_cpu(platform) < server
        (pod,) = _placeholders(platform)
        yield str(pod["metadata"]["uid"])
    finally:
        kubectl("delete", "pod", FILLER, "-n", "default", "--ignore-not-found", "--now")
        kubectl("delete", "deployment", name, "-n", SYSTEM_NAMESPACE)
        kubectl("delete", "priorityclass", headroom.APP)


def test_server_on_a_full_node_takes_the_room_of_a_placeholder(
    platform: Platform, ann: Person, placeholder: str
) -> None:
    ann.await_output(f"1 of 1 servers of {DEFAULT_FLAVOR} ready", "status")
    ann.devctl("create", "roomy", DEFAULT_FLAVOR, "--ephemeral", "--wait", "2m")
    try:
        assert ann.ssh("roomy", "echo hello").stdout == "hello\n"
        (pod,) = _placeholders(platform)
        assert pod["metadata"]["uid"] != placeholder
        assert pod["status"]["phase"] == "Pending"
        ann.await_output(f"0 of 1 servers of {DEFAULT_FLAVOR} ready", "status")
    finally:
        ann.devctl("delete", "roomy", "--yes")
    ann.await_output(f"1 of 1 servers of {DEFAULT_FLAVOR} ready", "status")


def test_pre_pull_ends_well_in_an_image_without_a_shell(platform: Platform, ann: Person) -> None:
    images, no_shell = _images(platform), loaded(platform, "noshell")
    pool = _local(images)
    made = pre_pull.daemon_set(pool, pre_pull.images_of(pool, images, [(no_shell, ())]), images, [])
    queueing.apply(platform, made)
    kubectl, name = platform.cluster.kubectl, made["metadata"]["name"]
    try:
        kubectl("rollout", "status", f"daemonset/{name}", "-n", SYSTEM_NAMESPACE, "--timeout=90s")
        (pod,) = platform.get("pods", "-n", SYSTEM_NAMESPACE, "-l", LABEL_PRE_PULL)["items"]
        ended = {
            each["name"]: each["state"]["terminated"]["exitCode"] for each in pod["status"]["initContainerStatuses"]
        }
        assert ended == {"install": 0, "pull-1": 0}
        ann.await_output("3 images on 1 of 1 nodes", "status")
    finally:
        kubectl("delete", "daemonset", name, "-n", SYSTEM_NAMESPACE)


def _placeholders(platform: Platform) -> list[dict[str, Any]]:
    """Placeholder pods that are not being deleted."""
    found = platform.get("pods", "-n", SYSTEM_NAMESPACE, "-l", LABEL_HEADROOM)["items"]
    return [each for each in found if "deletionTimestamp" not in each["metadata"]]


def _images(platform: Platform) -> Images:
    """The platform's images that are on the node."""
    deployment = platform.get("deployment", OPERATOR, "-n", SYSTEM_NAMESPACE)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    env = {each["name"]: each.get("value", "") for each in container["env"]}
    return Images(
        operator=container["image"],
        agent=env["DEVSERVERS_AGENT_IMAGE"],
        base=env["DEVSERVERS_DEFAULT_IMAGE"],
        bastion=container["image"],
    )


def _local(images: Images) -> Pool:
    """The pool of a local cluster."""
    (pool,) = pools(Capacity(1, 1), Settings(cluster="local", images=images))
    return pool


def _free_cpu(platform: Platform) -> Decimal:
    """CPUs of the node that no pod on it asks for."""
    (node,) = platform.get("nodes")["items"]
    free = parse_quantity(str(node["status"]["allocatable"]["cpu"]))
    for pod in platform.get("pods", "-A")["items"]:
        if pod["status"]["phase"] in ("Succeeded", "Failed") or "nodeName" not in pod["spec"]:
            continue
        for container in pod["spec"]["containers"]:
            free -= parse_quantity(str(container.get("resources", {}).get("requests", {}).get("cpu", "0")))
    return free


def _filler(image: str, cpus: Decimal) -> dict[str, Any]:
    """A pod that asks for so many CPUs and uses none."""
    container: dict[str, Any] = {"name": "filler", "image": image, "imagePullPolicy": "IfNotPresent"}
    requests = {"cpu": f"{int(cpus * 1000)}m"}
    container |= {"command": ["sleep", "infinity"], "resources": {"requests": requests}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": FILLER, "namespace": "default"},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }
