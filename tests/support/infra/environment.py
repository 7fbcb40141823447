"""Settings with every kind of pool, and the graph the program makes of them."""

from __future__ import annotations

import functools
import json
from typing import Any

from infra.aws.stack import environment
from infra.preview.graph import Graph, Node
from infra.preview.recorder import record
from infra.settings.aws.models import Aws
from infra.settings.stack import Images, Settings

STACK = "dev"
NAME = "devservers-dev"
ACCOUNT = "111122223333"
REGION = "eu-central-1"
ZONES = [f"{REGION}a", f"{REGION}b"]
ADMINISTRATOR = f"arn:aws:iam::{ACCOUNT}:role/platform-admins"
POOLS: list[dict[str, Any]] = [
    {"name": "cpu", "family": "m7i", "size": "2xlarge", "max": 4, "capacity": "SPOT", "zones": [ZONES[0]]},
    {"name": "l40s", "family": "g6e", "size": "12xlarge", "min": 3, "max": 6},
    {
        "name": "h100",
        "family": "p5",
        "size": "48xlarge",
        "max": 8,
        "zones": [ZONES[0]],
        "efa": True,
        "reservationId": "cr-0123456789abcdef0",
    },
    {
        "name": "block",
        "family": "p5en",
        "size": "48xlarge",
        "capacity": "CAPACITY_BLOCK",
        "max": 2,
        "zones": [ZONES[1]],
        "efa": True,
        "reservationId": "cr-0123456789abcdef1",
    },
]
CONFIGURATION: dict[str, Any] = {
    "environment": "dev",
    "region": REGION,
    "accountId": ACCOUNT,
    "owner": "platform",
    "costCenter": "4711",
    "network": {"zones": ZONES, "nat": "single"},
    "pools": POOLS,
    "access": {"administrators": [ADMINISTRATOR]},
}


def configured(**changes: Any) -> Settings:
    """Settings with these keys of the environment in place of :data:`CONFIGURATION`'s."""
    image = "registry.example.com/devservers/{}:1"
    images = Images(
        operator=image.format("operator"),
        agent=image.format("agent"),
        base=image.format("base"),
        bastion=image.format("bastion"),
    )
    aws = Aws.model_validate(CONFIGURATION | changes, by_alias=True, by_name=False)
    return Settings(cluster="aws", images=images, aws=aws)


def graph(preview: bool = False, **changes: Any) -> Graph:
    """What the program registers for such an environment, without the platform; made once for each."""
    return _graph(preview, json.dumps(changes, sort_keys=True))


@functools.cache
def _graph(preview: bool, changes: str) -> Graph:
    settings = configured(**json.loads(changes))

    def build() -> None:
        environment(STACK, settings)

    return record(build, preview, STACK)


def part(whole: Graph, component: str) -> Graph:
    """The resources right below a component, by its class."""
    return Graph({urn: node for urn, node in whole.items() if f"devservers:aws:{component}::" in node.parent})


def urn(whole: Graph, node: Node) -> str:
    """Of a recorded resource."""
    return next(key for key, value in whole.items() if value is node)


def follows(whole: Graph, later: Node, earlier: Node) -> bool:
    """Whether one is made after the other, and goes before it."""
    return urn(whole, earlier) in whole.before(later)
