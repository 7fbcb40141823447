"""Every admission policy of the platform, with the binding that puts it in force.

Invariant: rules between objects hold in the API server itself, so they hold while the operator is down.
"""

from __future__ import annotations

from typing import Any

from devservers.api.admission import claims, config_maps, people, platform
from devservers.api.policy import binding


def manifests() -> list[dict[str, Any]]:
    """All admission policies, each followed by the binding that puts it in force."""
    policies = (
        (people.SERVER_POLICY, people.server_policy()),
        (claims.CLAIM_POLICY, claims.claim_policy()),
        (claims.GROWTH_POLICY, claims.growth_policy()),
        (claims.SNAPSHOT_POLICY, claims.snapshot_policy()),
        (platform.OPERATOR_POLICY, platform.operator_policy()),
        (platform.WISH_POLICY, platform.wish_policy()),
        (platform.BASTION_POLICY, platform.bastion_policy()),
        (platform.TOKEN_POLICY, platform.token_policy()),
        (people.SECRET_POLICY, people.secret_policy()),
        (config_maps.CONFIG_MAP_POLICY, config_maps.config_map_policy()),
    )
    return [manifest for name, policy in policies for manifest in (policy, binding(name))]
