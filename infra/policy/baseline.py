"""The list of all policy rules.

Invariant: the security baseline is this list and nothing else; preview, CI and tests all run it.
"""

from __future__ import annotations

from infra.policy import (
    cluster_rules,
    data_rules,
    network_rules,
    node_rules,
    rights_rules,
    tag_rules,
    workload_rules,
)
from infra.policy.rule import Rule

RULES: tuple[Rule, ...] = (
    *cluster_rules.RULES,
    *node_rules.RULES,
    *data_rules.RULES,
    *network_rules.RULES,
    *rights_rules.RULES,
    *workload_rules.RULES,
    *tag_rules.RULES,
)
