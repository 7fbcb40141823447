"""The platform of a stack: its components and the order they come in.

Invariant: every cluster gets the same platform, in the same order, wherever it comes from.

Destroy runs backwards: users first, while the operator still cleans up after them, and the bastion while it still gets
tokens; then the operator, then the kinds with the servers that are left, and Kueue after all that has pods in a queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from devservers.api.flavor import DevServerFlavor
from devservers_core.names import SYSTEM_NAMESPACE
from infra.platform.bastion import component as bastion
from infra.platform.crds import Crds
from infra.platform.fast_starts.component import FastStarts
from infra.platform.flavors import Flavors, of_stack
from infra.platform.kueue.component import Queueing
from infra.platform.namespaces import Namespaces
from infra.platform.operator import Operator
from infra.platform.pools import Pool
from infra.platform.users import Users
from infra.settings.stack import Settings

LOCALHOST = "127.0.0.1"


@dataclass(frozen=True)
class Endpoint:
    """The address at which users reach the bastion."""

    address: pulumi.Input[str]
    """What they type, HOST or HOST:PORT."""
    hosts: Sequence[pulumi.Input[str]]
    """Every name its host certificate is for."""
    target_group_arn: pulumi.Input[str] | None = None
    """Of the load balancer that its pods are registered with."""


def loopback(port: int) -> Endpoint:
    """The endpoint on this machine's loopback."""
    return Endpoint(f"{LOCALHOST}:{port}", [LOCALHOST, "localhost"])


def platform(
    settings: Settings,
    provider: pulumi.ProviderResource,
    pools: Sequence[Pool],
    offered: Sequence[DevServerFlavor],
    ready: Sequence[pulumi.Resource] = (),
    endpoint: Endpoint | None = None,
) -> dict[str, Any]:
    """Make the platform on the provider's cluster; gives the stack's outputs.

    ``pools`` is what the queues divide, ``offered`` what people may choose; everything is made after ``ready``, and
    gone before it. ``endpoint`` is the bastion's; None: a port of this machine.
    """

    def after(*others: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(providers=[provider], depends_on=[*ready, *others])

    first = [Queueing(pools, settings, after())] if settings.queueing.enabled else []
    crds = Crds(after(*first))
    wanted = settings.bastion.enabled
    endpoint = endpoint or loopback(settings.bastion.node_port)
    # With the operator's namespace: the operator puts the host key into it as soon as it runs.
    spaces = [[bastion.namespace(settings), *bastion.policies(settings)]] if wanted else []
    namespaces = Namespaces(after(), *spaces)
    operator = Operator(settings, endpoint.hosts if wanted else [], after(*first, crds, namespaces))
    if wanted:
        bastion.Bastion(settings, endpoint.address, endpoint.target_group_arn, after(namespaces, operator))
    if settings.fast_starts.enabled:
        FastStarts(settings, pools, offered, after(namespaces))
    flavors = Flavors([of_stack(flavor, settings).manifest() for flavor in offered], after(crds))
    users = Users(settings.users, settings, after(*first, crds, operator, flavors))
    return {
        "namespace": SYSTEM_NAMESPACE,
        "operatorImage": settings.images.operator,
        **({"bastion": endpoint.address} if wanted else {}),
        "users": users.names,
        "flavors": flavors.names,
    }
