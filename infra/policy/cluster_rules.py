"""Policy rules about the EKS cluster and its add-ons.

Invariant: the API server answers nobody it shouldn't, keeps secrets under our key, and writes down what happens.

The cluster is seen twice: as pulumi-eks's component, and under the engine as the EKS cluster inside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from infra.catalog.networks import is_open_to_the_world
from infra.policy.rule import Rule
from infra.policy.subject import ADDON, Stack, Subject, Unknown, at, decoded, items, off, on

COMPONENT = "eks:index:Cluster"
CLUSTER = "aws:eks/cluster:Cluster"
LOGS = ("api", "audit", "authenticator", "controllerManager", "scheduler")


def of_the_world(network: object) -> bool:
    """Whether a network is everybody's; what is no network, or not known yet, is not."""
    try:
        return is_open_to_the_world(ip_network(str(network), strict=False))
    except ValueError:
        return False


def _endpoint(subject: Subject) -> Mapping[str, Any] | None:
    """The settings of the API server's endpoint; None if unknown or no cluster."""
    if subject.type == COMPONENT:
        return subject.inputs
    if subject.type == CLUSTER:
        found = subject.at("vpcConfig")
        return None if isinstance(found, Unknown) else found or {}
    return None


def _private(subject: Subject) -> Iterator[str]:
    endpoint = _endpoint(subject)
    if endpoint is not None and not on(at(endpoint, "endpointPrivateAccess")):
        yield "the VPC has no endpoint of its own to the API server"


def _open(subject: Subject) -> Iterator[str]:
    endpoint = _endpoint(subject)
    if endpoint is None or off(at(endpoint, "endpointPublicAccess")):
        return
    cidrs = at(endpoint, "publicAccessCidrs")
    # Not set means 0.0.0.0/0 (eks:CreateCluster).
    if cidrs is None or any(map(of_the_world, items(cidrs))):
        yield "the whole internet reaches the API server"


def _public_in_production(stack: Stack) -> Iterator[tuple[Subject, str]]:
    for subject in stack.of(COMPONENT, CLUSTER) if stack.production else ():
        endpoint = _endpoint(subject)
        if endpoint is not None and not off(at(endpoint, "endpointPublicAccess")):
            yield subject, "production's API server has a public endpoint"


def _secrets(subject: Subject) -> Iterator[str]:
    key = {COMPONENT: "encryptionConfigKeyArn", CLUSTER: "encryptionConfig.provider.keyArn"}.get(subject.type)
    if key and not subject.at(key):
        yield "Kubernetes secrets aren't encrypted with a key of this account"


def _logs(subject: Subject) -> Iterator[str]:
    if subject.type in (COMPONENT, CLUSTER):
        kinds = subject.at("enabledClusterLogTypes")
        missing = [kind for kind in LOGS if kind not in items(kinds)]
        if missing and not (on(kinds) and not isinstance(kinds, list)):
            yield f"the control plane doesn't log {', '.join(missing)}"


def _entries(subject: Subject) -> Iterator[str]:
    mode = {COMPONENT: "authenticationMode", CLUSTER: "accessConfig.authenticationMode"}.get(subject.type)
    if mode and str(subject.at(mode)).upper() != "API" and not on(subject.at(mode)):
        yield f"its authentication mode is {subject.at(mode) or 'not set'}"
    if subject.type == COMPONENT:
        entries = subject.at("accessEntries")
        for name, entry in entries.items() if isinstance(entries, Mapping) else ():
            yield from _entry(name, items(at(entry, "kubernetesGroups")), _policies(entry))
    if subject.type == "aws:eks/accessEntry:AccessEntry":
        yield from _entry(subject.name, items(subject.at("kubernetesGroups")), [])
    if subject.type == "aws:eks/accessPolicyAssociation:AccessPolicyAssociation":
        yield from _entry(subject.name, [], [str(subject.at("policyArn"))])


def _policies(entry: object) -> list[str]:
    found = at(entry, "accessPolicies")
    return [str(at(each, "policyArn")) for each in found.values()] if isinstance(found, Mapping) else []


def _entry(name: str, groups: list[Any], policies: list[str]) -> Iterator[str]:
    if "system:masters" in groups:
        yield f"entry {name} is in system:masters, which no audit and no role limits"
    if "preview" in name:
        for policy in policies:
            if "View" not in policy.rpartition("/")[2]:
                yield f"entry {name} is for previews and may do more than look: {policy.rpartition('/')[2]}"


def _network_policy(subject: Subject) -> Iterator[str]:
    if subject.type != ADDON or subject.at("addonName") != "vpc-cni":
        return
    if not on(at(decoded(subject.at("configurationValues")), "enableNetworkPolicy")):
        yield "nothing enforces NetworkPolicies: users' namespaces are open"


def _instruments_nothing(subject: Subject) -> Iterator[str]:
    """Both switches are on by default (the add-on's chart since 5.0.0)."""
    if subject.type != ADDON or subject.at("addonName") != "amazon-cloudwatch-observability":
        return
    values = decoded(subject.at("configurationValues"))
    for switch in ("manager.applicationSignals.autoMonitor.monitorAllServices", "applicationSignals.enabled"):
        if not off(at(values, switch)):
            yield f"{switch} is on: it puts containers of its own into the pods behind every Service"


RULES = (
    Rule(
        "eks-private-endpoint",
        "The API server has an endpoint inside the VPC.",
        "set endpoint_private_access=True",
        check=_private,
    ),
    Rule(
        "eks-not-open-to-the-world",
        "A public API server names who may reach it, never 0.0.0.0/0.",
        "set devservers:kubernetes.publicAccessCidrs to your networks, or to [] for a private one",
        check=_open,
    ),
    Rule(
        "eks-private-in-prod",
        "Production's API server has no public endpoint.",
        "set devservers:kubernetes.publicAccessCidrs to []",
        check_stack=_public_in_production,
    ),
    Rule(
        "eks-secrets-encrypted",
        "Kubernetes secrets are encrypted with a KMS key of this account.",
        "give the cluster encryption_config_key_arn; it can't be added to a running one",
        check=_secrets,
    ),
    Rule(
        "eks-logs",
        "All five logs of the control plane are kept.",
        f"set enabled_cluster_log_types to {', '.join(LOGS)}",
        check=_logs,
    ),
    Rule(
        "eks-access-entries",
        "Who may do what in the cluster is in access entries; previews only look.",
        "use authentication mode API, no system:masters, and a View policy for previews",
        check=_entries,
    ),
    Rule(
        "cni-network-policy",
        "The VPC CNI enforces NetworkPolicies.",
        'set enableNetworkPolicy to "true" in the values of add-on vpc-cni',
        check=_network_policy,
    ),
    Rule(
        "no-auto-instrumentation",
        "CloudWatch measures the cluster and changes nobody's pods.",
        "set manager.applicationSignals.autoMonitor.monitorAllServices and applicationSignals.enabled to false in the"
        " values of add-on amazon-cloudwatch-observability",
        check=_instruments_nothing,
    ),
)
