"""Invariant: every cluster gets the same platform, in the same order, wherever it comes from.

Destroy runs backwards: users first, while the operator still cleans up after them, then the operator, then the kinds
with the servers that are left, and Kueue after all that has pods in a queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pulumi

from devservers.api.flavor import DevServerFlavor
from devservers.api.meta import SYSTEM_NAMESPACE
from infra.platform.crds import Crds
from infra.platform.flavors import Flavors
from infra.platform.namespaces import Namespaces
from infra.platform.operator import Operator
from infra.platform.queueing import Queueing
from infra.platform.users import Users
from infra.pools import Pool
from infra.settings import Settings


def platform(
    settings: Settings, provider: pulumi.ProviderResource, pools: Sequence[Pool], offered: Sequence[DevServerFlavor]
) -> dict[str, Any]:
    """Make the platform on the provider's cluster; gives the stack's outputs.

    ``pools`` is what the queues divide, ``offered`` what people may choose.
    """

    def after(*others: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(providers=[provider], depends_on=list(others))

    first = [Queueing(pools, settings, after())] if settings.queueing.enabled else []
    crds = Crds(after(*first))
    namespaces = Namespaces(after())
    operator = Operator(settings, after(*first, crds, namespaces))
    flavors = Flavors([flavor.manifest() for flavor in offered], after(crds))
    users = Users(settings.users, settings, after(*first, crds, operator, flavors))
    return {
        "namespace": SYSTEM_NAMESPACE,
        "operatorImage": settings.images.operator,
        "users": users.names,
        "flavors": flavors.names,
    }
